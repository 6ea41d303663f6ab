// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"

	"github.com/dray-tools/dray/oci"
)

// checkPlatforms is ErrInvalid if images of an index have become ones for the
// same platform, or the same image, and were not before. The entries lead to
// what they have become.
func (x *Index) checkPlatforms() error {
	slots, digests := map[string]int{}, map[oci.Digest]int{}
	before := x.had()
	for n, e := range x.entries {
		if _, ok := e.Node.(*Image); !ok || e.was.Digest == "" {
			continue
		}
		var now oci.Descriptor
		_ = json.Unmarshal(x.doc.Get("manifests", n), &now) // was written here, or parsed
		if now.Platform == nil {
			now.Platform = descriptorOf(e, true).Platform
		}
		if k, ok := slots[slotOf(now)]; ok && slotOf(before[k]) != slotOf(before[n]) {
			return oci.Errorf(oci.ErrInvalid, "two images of the index would be%s: those%s and%s (--platform chooses among them)", forPlatform(now), forPlatform(before[k]), forPlatform(before[n]))
		}
		if k, ok := digests[now.Digest]; ok && before[k].Digest != before[n].Digest {
			return oci.Errorf(oci.ErrInvalid, "two images of the index would become the same%s: %s and %s", forPlatform(now), before[k].Digest, before[n].Digest)
		}
		if slot := slotOf(now); slot != "" {
			slots[slot] = n
		}
		digests[now.Digest] = n
	}
	return nil
}

// had are the entries as they were when they were loaded or put here.
func (x *Index) had() []oci.Descriptor {
	out := make([]oci.Descriptor, len(x.entries))
	for n, e := range x.entries {
		out[n] = descriptorOf(e, false)
	}
	return out
}

// descriptorOf is an entry with the platform of the image's config, as it was or
// is now, if it says none itself.
func descriptorOf(e *Entry, now bool) oci.Descriptor {
	d := e.was
	if img, ok := e.Node.(*Image); ok && d.Platform == nil && img.was != nil {
		p := img.was.Platform
		if now {
			p = img.Platform()
		}
		d.Platform = &p
	}
	return d
}

// checkReplaced compares platforms that have been written by hand with those of
// the images' configs: ErrPlatform if one is another, ErrExists if two images are
// for one platform that were not before.
func (x *Index) checkReplaced(was *Index) error {
	said := map[oci.Digest][]oci.Descriptor{}
	for _, e := range was.entries {
		said[e.was.Digest] = append(said[e.was.Digest], e.was)
	}
	for _, e := range x.entries {
		img, ok := e.Node.(*Image)
		if !ok || e.was.Platform == nil || !contradicts(*e.was.Platform, img.Platform()) {
			continue
		}
		stays := false
		for _, old := range said[e.was.Digest] {
			stays = stays || old.Platform != nil && samePlatform(*old.Platform, *e.was.Platform)
		}
		if !stays {
			return oci.Wrap("", string(e.was.Digest), wrongPlatform(*e.was.Platform, img.Platform()))
		}
	}
	before := was.crowded()
	for slot, d := range x.crowded() {
		if _, ok := before[slot]; !ok {
			return oci.Errorf(oci.ErrExists, "two images%s, one of them %s", forPlatform(d), d.Digest)
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// A Change is a value of a document that is another than it was.
type Change struct {
	Of     string          `json:"of"`            // config, manifest, index, or entry: of an index
	Member string          `json:"member"`        // where it is, as config.Env[1] or annotations["a"]
	Old    json.RawMessage `json:"old,omitempty"` // absent: it was not there
	New    json.RawMessage `json:"new,omitempty"` // absent: it is there no more
	// Platforms are those of the images of an index that it is in.
	Platforms []string `json:"platforms,omitempty"`
}

// Changes tells what edits have changed in configs and manifests since they were
// loaded; layers and diff IDs are not told. What is equal in several images is
// told once.
func Changes(n Node) []Change {
	w := &changes{at: map[string]int{}}
	w.node(n, "")
	return w.list
}

type changes struct {
	list []Change
	at   map[string]int // by all but the platforms
}

func (w *changes) node(n Node, platform string) {
	switch n := n.(type) {
	case *Image:
		if n.was != nil {
			w.documents("config", platform, n.was.Config, n.RawConfig(), "rootfs")
		}
		if n.man != nil {
			w.documents("manifest", platform, n.man.Raw, n.RawManifest(), "config", "layers")
		}
	case *Index:
		w.index(n)
		for _, e := range n.entries {
			var platform string
			if d := descriptorOf(e, false); d.Platform != nil {
				platform = oci.FormatPlatform(*d.Platform)
			}
			w.node(e.Node, platform)
		}
	}
}

// index compares an index and what its entries say.
func (w *changes) index(x *Index) {
	if x.man == nil {
		return
	}
	w.documents("index", "", x.man.Raw, x.doc.Bytes(), "manifests")
	was, before, now := map[oci.Digest]oci.Descriptor{}, []any{}, []any{}
	for _, d := range x.man.Manifests {
		was[d.Digest], before = d, append(before, string(d.Digest))
	}
	for n, e := range x.entries {
		now = append(now, string(e.was.Digest))
		old, ok := was[e.was.Digest]
		if !ok {
			continue
		}
		var platform string
		if old.Platform != nil {
			platform = oci.FormatPlatform(*old.Platform)
		}
		var d oci.Descriptor
		_ = json.Unmarshal(x.doc.Get("manifests", n), &d) // was read, or written here
		w.documents("entry", platform, said(old), said(d))
	}
	w.compare(Change{Of: "index", Member: "manifests"}, before, now)
}

// said is what an entry says of what it leads to.
func said(d oci.Descriptor) []byte {
	raw, _ := json.Marshal(struct { // values that were read
		Platform    *oci.Platform     `json:"platform,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}{d.Platform, d.Annotations})
	return raw
}

// documents compares two objects, but for some of their members.
func (w *changes) documents(of, platform string, old, now []byte, but ...string) {
	if bytes.Equal(old, now) {
		return
	}
	a, errA := jsonedit.Decode(old)
	b, errB := jsonedit.Decode(now)
	if errA != nil || errB != nil {
		return
	}
	for _, v := range []any{a, b} {
		if m, ok := v.(map[string]any); ok {
			maps.DeleteFunc(m, func(k string, _ any) bool { return slices.Contains(but, k) })
		}
	}
	c := Change{Of: of}
	if platform != "" {
		c.Platforms = []string{platform}
	}
	w.compare(c, a, b)
}

// absent stands for a value that is not there, which null is.
type absent struct{}

func isAbsent(v any) bool { _, ok := v.(absent); return ok }

func (w *changes) compare(c Change, old, now any) {
	a, objectA := old.(map[string]any)
	b, objectB := now.(map[string]any)
	listA, isListA := old.([]any)
	listB, isListB := now.([]any)
	switch {
	case reflect.DeepEqual(old, now):
	case objectA && objectB, objectA && isAbsent(now), objectB && isAbsent(old):
		if len(a)+len(b) == 0 {
			w.add(c, old, now)
		}
		keys := map[string]bool{}
		for _, m := range []map[string]any{a, b} {
			for k := range m {
				keys[k] = true
			}
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			sub := c
			sub.Member = member(c.Member, k)
			w.compare(sub, valueOf(a, k), valueOf(b, k))
		}
	case isListA && isListB:
		w.lists(c, listA, listB)
	default:
		w.add(c, old, now)
	}
}

// lists compares what is between the elements that both lists begin and end with.
func (w *changes) lists(c Change, old, now []any) {
	from := 0
	for from < min(len(old), len(now)) && reflect.DeepEqual(old[from], now[from]) {
		from++
	}
	a, b := old[from:], now[from:]
	for len(a) > 0 && len(b) > 0 && reflect.DeepEqual(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	for k := range max(len(a), len(b)) {
		sub := c
		sub.Member += "[" + strconv.Itoa(from+k) + "]"
		var x, y any = absent{}, absent{}
		if k < len(a) {
			x = a[k]
		}
		if k < len(b) {
			y = b[k]
		}
		w.add(sub, x, y)
	}
}

func valueOf(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return absent{}
}

// member is the name of a member of an object.
func member(of, key string) string {
	for _, r := range key {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_' {
			return of + "[" + strconv.Quote(key) + "]"
		}
	}
	if of == "" {
		return key
	}
	return of + "." + key
}

// add tells of a change, or of another image that has it.
func (w *changes) add(c Change, old, now any) {
	c.Old, c.New = written(old), written(now)
	key := c.Of + "\x00" + c.Member + "\x00" + string(c.Old) + "\x00" + string(c.New)
	if n, ok := w.at[key]; ok {
		for _, p := range c.Platforms {
			if have := &w.list[n].Platforms; !slices.Contains(*have, p) {
				*have = append(*have, p)
			}
		}
		return
	}
	w.at[key] = len(w.list)
	w.list = append(w.list, c)
}

// written is a value as JSON; nil if it is not there.
func written(v any) json.RawMessage {
	if isAbsent(v) {
		return nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // came from JSON
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

func platforms(t *testing.T, names ...string) (out []oci.Platform) {
	t.Helper()
	for _, n := range names {
		p, err := oci.ParsePlatform(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// attested makes an index as BuildKit does: an attestation for each image.
func attested(t *testing.T) (f ocitest.Fixture, children []oci.Descriptor) {
	var entries []string
	for i, p := range []string{"amd64", "arm64"} {
		img := ocitest.Index(uint64(i), "linux/"+p)
		img.Blobs = img.Blobs[:len(img.Blobs)-1]
		att := ocitest.Artifact(uint64(10+i), "application/x", nil)
		d, a := img.Blobs[len(img.Blobs)-1].Descriptor(), att.Root
		f.Blobs = append(append(f.Blobs, img.Blobs...), att.Blobs...)
		children = append(children, d, a)
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"architecture":%q,"os":"linux"}}`, d.MediaType, d.Digest, d.Size, p),
			fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"vnd.docker.reference.digest":%q,"vnd.docker.reference.type":"attestation-manifest"},"platform":{"architecture":"unknown","os":"unknown"}}`, a.MediaType, a.Digest, a.Size, d.Digest))
	}
	root := oci.Bytes(oci.MediaIndex, fmt.Appendf(nil, `{"x-unknown":1, "mediaType":%q,"manifests":[%s], "annotations":{"a":"b"}}`, oci.MediaIndex, strings.Join(entries, ",")))
	f.Blobs, f.Root = append(f.Blobs, root), root.Descriptor()
	return f, children
}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1) // linux/amd64, linux/arm64, windows/amd64:10.0.20348.587
	nested := ocitest.Symbols(t, "a = layer 10\ni = image a\nx = index i\ny = index i x").Fixture("y")
	buildkit, children := attested(t)
	for name, c := range map[string]struct {
		f     ocitest.Fixture
		want  string
		kept  int // children
		isNew bool
		err   error
		text  string
	}{
		"one":           {f, "linux/arm64", 1, true, nil, ""},
		"two":           {f, "linux/amd64 windows/amd64", 2, true, nil, ""},
		"os.version":    {f, "windows/amd64:10.0.20348", 1, true, nil, ""},
		"all":           {f, "linux/amd64 linux/arm64 windows/amd64", 3, false, nil, ""},
		"missing":       {f, "linux/amd64 linux/s390x", 0, false, oci.ErrNotFound, "no linux/s390x; it has linux/amd64, linux/arm64, windows/amd64:10.0.20348.587"},
		"nested":        {nested, "linux/amd64", 0, false, oci.ErrUnsupported, "another index"},
		"attestation":   {buildkit, "linux/amd64", 2, true, nil, ""},
		"attestations":  {buildkit, "linux/amd64 linux/arm64", 4, false, nil, ""},
		"single, right": {ocitest.Image(1, 1, 1), "linux/arm64 linux/amd64", 0, false, nil, ""},
		"single, wrong": {ocitest.Image(1, 1, 1), "linux/arm64 linux/386", 0, false, oci.ErrNotFound, "image is for linux/amd64, not for linux/arm64, linux/386"},
		"artifact":      {ocitest.Artifact(1, "x/y", nil), "linux/amd64", 0, false, oci.ErrNotFound, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := stocked(t, c.f), repo(t, mem.New(), "dst")
			o := transfer.Options{Platforms: platforms(t, strings.Fields(c.want)...)}
			p, err := run(t.Context(), o, job(src, "v1", strict{dst, t}, "v1"))
			wantErr(t, "copy", err, c.err)
			if err != nil {
				wantTag(t, dst, "v1", "")
				if !strings.Contains(err.Error(), c.text) {
					t.Errorf("text %q, want %q", err, c.text)
				}
				return
			}
			img := p.Images[0]
			if img.New != c.isNew || c.isNew != (img.Digest != c.f.Root.Digest) || c.isNew && img.Source != c.f.Root.Digest {
				t.Errorf("%+v", img)
			}
			d, err := dst.Resolve(t.Context(), "v1")
			if err != nil || d.Digest != img.Digest {
				t.Fatalf("tag is %s, want %s; %v", d.Digest, img.Digest, err)
			}
			m, err := oci.Fetch(t.Context(), dst, d)
			if err != nil || len(m.Manifests) != c.kept {
				t.Errorf("%d children, want %d; %v", len(m.Manifests), c.kept, err)
			}
			wholeTags(t, dst)
			if again := must(t, o, job(src, "v1", dst, "v1")); !again.Images[0].Unchanged || ops(again) != "1 skip 0 mount 0 put 0 tag" {
				t.Errorf("again: %s", ops(again))
			}
			if name == "attestation" {
				wantAbsent(t, dst, children[2])
				wantAbsent(t, dst, children[3])
				if !strings.HasPrefix(string(m.Raw), `{"x-unknown":1, "mediaType"`) || !strings.HasSuffix(string(m.Raw), `], "annotations":{"a":"b"}}`) {
					t.Errorf("the index was rewritten: %s", m.Raw)
				}
			}
		})
	}
}

func cosign(d oci.Digest, suffix string) string {
	return strings.Replace(string(d), ":", "-", 1) + suffix
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	world := ocitest.Symbols(t, `
a = layer 100
amd = image a
arm = image a platform=linux/arm64
all = index amd arm
note = blob words
sbom = artifact note type=application/spdx subject=arm   # of a child
sig = artifact note type=application/sig subject=sbom    # of a referrer
two = index sig note=k=v type=application/set subject=all
extra = artifact note type=application/late subject=two
tagged = image a note=kind=sig
deep = image a note=kind=deep
other = artifact note type=application/x subject=tagged
stray = artifact note type=application/y subject=note
`)
	src := stocked(t, world.Fixture("all"))
	for _, name := range []string{"sbom", "sig", "two", "tagged", "stray", "other", "deep"} {
		push(t, src, world.Fixture(name))
	}
	root, arm := world.Fixture("all").Root, world.Fixture("arm").Root
	tags := []string{cosign(root.Digest, ".sig"), cosign(arm.Digest, ".att"), cosign(world.Fixture("tagged").Root.Digest, ".sbom")}
	for i, name := range []string{"tagged", "tagged", "deep"} {
		if err := src.Tag(t.Context(), tags[i], world.Fixture(name).Root); err != nil {
			t.Fatal(err)
		}
	}
	host := mem.New()
	dst := repo(t, host, "dst")
	o := transfer.Options{Referrers: true}
	p := must(t, o, job(src, "v1", strict{dst, t}, "new"))
	for _, name := range []string{"all", "sbom", "sig", "two", "tagged", "deep", "other"} {
		wantSame(t, dst, world.Fixture(name))
	}
	wantAbsent(t, dst, world.Fixture("stray").Root)
	wantTag(t, dst, tags[0], world.Fixture("tagged").Root.Digest)
	wantTag(t, dst, tags[1], world.Fixture("tagged").Root.Digest)
	wantTag(t, dst, tags[2], world.Fixture("deep").Root.Digest)
	if last := p.Steps[len(p.Steps)-1]; last.Name != "new" {
		t.Errorf("the last step is %+v", last)
	}
	if again := must(t, o, job(src, "v1", dst, "new")); again.Totals().Put != 0 || !again.Images[0].Unchanged {
		t.Errorf("again: %s", ops(again))
	}
	// An image that is there gets what has come since, and only that.
	push(t, src, world.Fixture("extra"))
	again := must(t, o, job(src, "v1", strict{dst, t}, "new"))
	wantSame(t, dst, world.Fixture("extra"))
	if !again.Images[0].Unchanged || again.Totals().Put != 1 && again.Totals().Put != 3 {
		t.Errorf("one more: %s", ops(again))
	}
	// No clobbering of companions' tags either.
	third := repo(t, host, "third")
	push(t, third, world.Fixture("deep"), tags[0])
	o.NoClobber = true
	must(t, o, job(src, "v1", third, "new"))
	wantTag(t, third, tags[0], world.Fixture("deep").Root.Digest)
	wantTag(t, third, "new", root.Digest)
	wantSame(t, third, world.Fixture("sbom"))
	// Without the option nothing comes along.
	fourth := repo(t, host, "fourth")
	must(t, transfer.Options{}, job(src, "v1", fourth, "new"))
	wantAbsent(t, fourth, world.Fixture("sbom").Root)
}

func TestBad_014_ReferrersInACircle(t *testing.T) {
	t.Parallel()
	f, sig := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	src := stocked(t, f)
	push(t, src, sig)
	for tag, d := range map[string]oci.Descriptor{
		cosign(f.Root.Digest, ".sig"): sig.Root, cosign(f.Root.Digest, ".att"): f.Root, // about itself
		cosign(sig.Root.Digest, ".sig"): sig.Root, cosign(sig.Root.Digest, ".att"): f.Root, // and about one another
	} {
		if err := src.Tag(t.Context(), tag, d); err != nil {
			t.Fatal(err)
		}
	}
	dst := repo(t, mem.New(), "dst")
	p := must(t, transfer.Options{Referrers: true}, job(src, "v1", strict{dst, t}, "v1"), job(src, cosign(f.Root.Digest, ".sig"), strict{dst, t}, "v2"))
	wantTag(t, dst, "v1", f.Root.Digest)
	wantTag(t, dst, cosign(sig.Root.Digest, ".att"), f.Root.Digest)
	if len(p.Steps) > 20 {
		t.Errorf("%d steps", len(p.Steps))
	}
}

func TestReferrersOfANewIndex(t *testing.T) {
	t.Parallel()
	world := ocitest.Symbols(t, "a = layer 9\namd = image a\narm = image a platform=linux/arm64\nall = index amd arm\nnote = blob x\n"+
		"one = artifact note type=x/y subject=all\ntwo = artifact note type=x/z subject=arm\nthree = artifact note type=x/w subject=amd")
	src, dst := stocked(t, world.Fixture("all")), repo(t, mem.New(), "dst")
	for _, name := range []string{"one", "two", "three"} {
		push(t, src, world.Fixture(name))
	}
	p := must(t, transfer.Options{Referrers: true, Platforms: platforms(t, "linux/arm64")}, job(src, "v1", strict{dst, t}, "v1"))
	wantSame(t, dst, world.Fixture("two"))
	wantAbsent(t, dst, world.Fixture("one").Root)
	if len(p.Images[0].Notes) != 1 {
		t.Errorf("notes: %q", p.Images[0].Notes)
	}
	wantAbsent(t, dst, world.Fixture("three").Root)
}

// A fallback tag can list what has been deleted since. That is said, and does
// not stop the copy.
func TestReferrerThatIsGone(t *testing.T) {
	t.Parallel()
	world := ocitest.Symbols(t, "a = layer 9\nimg = image a\nnote = blob x\nsbom = artifact note type=x/y subject=img\nsig = artifact note type=x/z subject=img")
	src, dst := stocked(t, world.Fixture("img")), repo(t, mem.New(), "dst")
	push(t, src, world.Fixture("sig"))
	p := must(t, transfer.Options{Referrers: true}, job(stale{src, world.Fixture("sbom").Root}, "v1", strict{dst, t}, "v1"))
	wantSame(t, dst, world.Fixture("sig"))
	if notes := p.Images[0].Notes; len(notes) != 1 || !strings.Contains(notes[0], string(world.Fixture("sbom").Root.Digest)) {
		t.Errorf("notes: %q", notes)
	}
}

// What is listed as a referrer but refers to something else stays behind.
func TestReferrerOfSomethingElse(t *testing.T) {
	t.Parallel()
	world := ocitest.Symbols(t, "a = layer 9\nimg = image a\nb = layer 8\nother = image b\nnote = blob x\nsig = artifact note type=x/z subject=other")
	src, dst := stocked(t, world.Fixture("img")), repo(t, mem.New(), "dst")
	push(t, src, world.Fixture("sig"))
	p := must(t, transfer.Options{Referrers: true}, job(stale{src, world.Fixture("sig").Root}, "v1", strict{dst, t}, "v1"))
	wantAbsent(t, dst, world.Fixture("sig").Root)
	if notes := p.Images[0].Notes; len(notes) != 1 || !strings.Contains(notes[0], "something else") {
		t.Errorf("notes: %q", notes)
	}
}

// stale lists a referrer that is not there.
type stale struct {
	oci.Store
	gone oci.Descriptor
}

func (s stale) Unwrap() any { return s.Store }

func (s stale) Referrers(ctx context.Context, d oci.Descriptor, kind string) iter.Seq2[oci.Descriptor, error] {
	return func(yield func(oci.Descriptor, error) bool) {
		r, _ := oci.As[oci.Referrer](s.Store)
		for x, err := range r.Referrers(ctx, d, kind) {
			if !yield(x, err) {
				return
			}
		}
		if d.Digest != s.gone.Digest {
			yield(s.gone, nil)
		}
	}
}

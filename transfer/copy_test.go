// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
	"github.com/dray-tools/dray/transfer"
)

const zoo = `
a       = layer 1000
b       = layer 2000
far     = layer 500 foreign
empty   = layer 0
image   = image a b
arm     = image a platform=linux/arm64
docker  = image a b docker
dlist   = index docker docker
remote  = image far a docker
hollow  = image empty a empty
twice   = image a a b a
index   = index image arm
nested  = index index image note=k=v
unknown = index image a
note    = blob some words
sbom    = artifact note type=application/spdx subject=image
list    = index image sbom type=application/x subject=index
`

func TestExactCopies(t *testing.T) {
	t.Parallel()
	world := ocitest.Symbols(t, zoo)
	fixtures := map[string]ocitest.Fixture{
		"eight": ocitest.Index(1, "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/s390x", "linux/ppc64le", "linux/riscv64", "windows/amd64"),
		"wide":  ocitest.Image(2, 41, 100),
	}
	for _, name := range []string{"image", "docker", "dlist", "hollow", "twice", "index", "nested", "unknown", "sbom", "list"} {
		fixtures[name] = world.Fixture(name)
	}
	for name, f := range fixtures {
		for _, located := range []bool{true, false} {
			t.Run(fmt.Sprint(name, located), func(t *testing.T) {
				t.Parallel()
				src, dst := stocked(t, f), repo(t, mem.New(), "dst")
				to := oci.Store(strict{dst, t})
				if !located {
					to = struct{ oci.Store }{to} // tells neither its place nor anything else
				}
				var e events
				o := transfer.Options{Progress: e.watch}
				p := must(t, o, job(src, "v1", to, "new"))
				e.check(t, p)
				wantSame(t, dst, f)
				wantTag(t, dst, "new", f.Root.Digest)
				if total := p.Totals(); total.Put+total.Mounted != len(f.Blobs) || total.Skipped != 0 || p.Moved() != layerBytes(f) {
					t.Errorf("%+v, moved %d", total, p.Moved())
				}
				again := must(t, o, job(src, "v1", to, "new"))
				if ops(again) != "1 skip 0 mount 0 put 0 tag" || !again.Images[0].Unchanged {
					t.Errorf("again: %s", ops(again))
				}
			})
		}
	}
}

func TestForeignLayers(t *testing.T) {
	t.Parallel()
	f := ocitest.Symbols(t, zoo).Fixture("remote")
	far := f.Layers()[0].Descriptor()
	for _, foreign := range []bool{false, true} {
		dst := repo(t, mem.New(), "dst")
		p := must(t, transfer.Options{Foreign: foreign}, job(stocked(t, f), "v1", dst, "v1"))
		wantTag(t, dst, "v1", f.Root.Digest)
		if foreign {
			wantSame(t, dst, f)
			continue
		}
		wantAbsent(t, dst, far)
		if p.Steps[0].Why != "foreign" || p.Steps[0].Digest != far.Digest || p.Totals().Saved != 0 {
			t.Errorf("%+v, %+v", p.Steps[0], p.Totals())
		}
	}
}

func TestSHA512(t *testing.T) {
	t.Parallel()
	layer := oci.Bytes(oci.MediaLayer, []byte("layer"), digest.SHA512.FromString("layer"))
	config := oci.Bytes(oci.MediaConfig, []byte("{}"), digest.SHA512.FromString("{}"))
	text := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":5}]}`,
		oci.MediaConfig, config.Descriptor().Digest, oci.MediaLayer, layer.Descriptor().Digest)
	root := oci.Bytes(oci.MediaManifest, []byte(text), digest.SHA512.FromString(text))
	f := ocitest.Fixture{Root: root.Descriptor(), Blobs: []oci.Blob{layer, config, root}}
	dst := repo(t, mem.New(), "dst")
	must(t, transfer.Options{}, job(stocked(t, f), "v1", strict{dst, t}, "v1"))
	wantSame(t, dst, f)
	wantTag(t, dst, "v1", f.Root.Digest)
}

// holding makes an artifact of a blob, of which it says that it has that size.
func holding(b oci.Blob, size int64) ocitest.Fixture {
	empty := oci.Bytes(oci.MediaEmpty, []byte("{}"))
	root := oci.Bytes(oci.MediaManifest, fmt.Appendf(nil, `{"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oci.MediaEmpty, empty.Descriptor().Digest, b.Descriptor().MediaType, b.Descriptor().Digest, size))
	return ocitest.Fixture{Root: root.Descriptor(), Blobs: []oci.Blob{empty, b, root}}
}

// A blob and a manifest may have the same bytes: one does not stand for the other.
func TestLayerThatIsAManifestElsewhere(t *testing.T) {
	t.Parallel()
	img := ocitest.Image(1, 1, 10)
	raw, err := read(t.Context(), img.Blob(img.Root.Digest).Open)
	if err != nil {
		t.Fatal(err)
	}
	saved := holding(oci.Bytes("text/plain", raw), int64(len(raw)))
	src := repo(t, mem.New(), "src")
	push(t, src, img, "img")
	push(t, src, saved, "saved")
	for _, tags := range [][]string{{"img", "saved"}, {"saved", "img"}} {
		dst := repo(t, mem.New(), "dst")
		must(t, transfer.Options{}, job(src, tags[0], strict{dst, t}, "a"), job(src, tags[1], strict{dst, t}, "b"))
		wantSame(t, dst, saved)
		wantSame(t, dst, img)
	}
}

func TestDestinationsThatHaveSome(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1)
	for name, prepare := range map[string]func(t *testing.T, s oci.Store){
		"one blob":         func(t *testing.T, s oci.Store) { put(t, s, f.Layers()[0]) },
		"all but the root": func(t *testing.T, s oci.Store) { push(t, s, ocitest.Fixture{Blobs: f.Blobs[:len(f.Blobs)-1]}) },
		"all":              func(t *testing.T, s oci.Store) { push(t, s, f) },
		"a sparse index":   func(t *testing.T, s oci.Store) { put(t, s, f.Blobs[len(f.Blobs)-1]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst := repo(t, mem.New(), "dst")
			prepare(t, dst)
			var e events
			p := must(t, transfer.Options{Progress: e.watch}, job(stocked(t, f), "v1", strict{dst, t}, "v1"))
			e.check(t, p)
			wantSame(t, dst, f)
			wantTag(t, dst, "v1", f.Root.Digest)
			if total := p.Totals(); name != "a sparse index" && total.Bytes+total.Saved < layerBytes(f) && !strings.HasPrefix(name, "all") {
				t.Errorf("%+v", total)
			}
		})
	}
}

func put(t *testing.T, s oci.Store, b oci.Blob) {
	t.Helper()
	if _, err := s.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestDestinationByDigest(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1)
	src, dst := stocked(t, f), repo(t, mem.New(), "dst")
	must(t, transfer.Options{}, job(src, "v1", strict{dst, t}, ""))
	wantSame(t, dst, f)
	wantTag(t, dst, "v1", "")
	if p := must(t, transfer.Options{}, job(src, "v1", dst, "")); p.Totals().Put != 0 {
		t.Errorf("again: %s", ops(p))
	}
	j := job(src, "v1", dst, "v1")
	j.Want = ocitest.Image(9, 1, 1).Root.Digest
	_, err := run(t.Context(), transfer.Options{}, j)
	wantErr(t, "wants something else", err, oci.ErrInvalid)
	wantTag(t, dst, "v1", "")
	j.Want = f.Root.Digest
	must(t, transfer.Options{}, j)
}

func TestOneStoreAtBothEnds(t *testing.T) {
	t.Parallel()
	f := ocitest.Index(1)
	src := stocked(t, f)
	p := must(t, transfer.Options{}, job(src, "v1", src, "v2"), job(src, "v1", src, "v1"), job(src, string(f.Root.Digest), src, "v3"))
	wantTag(t, src, "v2", f.Root.Digest)
	wantTag(t, src, "v3", f.Root.Digest)
	if p.Moved() != 0 || p.Totals().Unchanged != 1 || p.Totals().Bytes != 2*f.Root.Size {
		t.Errorf("%+v", p.Totals())
	}
}

func TestJobsThatMeet(t *testing.T) {
	t.Parallel()
	one, two := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	src := repo(t, mem.New(), "src")
	push(t, src, one, "one")
	push(t, src, two, "two")
	dst := repo(t, mem.New(), "dst")
	p := must(t, transfer.Options{}, job(src, "one", strict{dst, t}, "v1"), job(src, "one", strict{dst, t}, "v1"), job(src, "one", strict{dst, t}, "v2"))
	if ops(p) != "0 skip 0 mount 2 put 2 tag" {
		t.Errorf("the same twice: %s", ops(p))
	}
	_, err := run(t.Context(), transfer.Options{}, job(src, "one", dst, "v3"), job(src, "two", dst, "v3"))
	wantErr(t, "two images of one name", err, oci.ErrInvalid)
	wantTag(t, dst, "v3", "")
	p, err = run(t.Context(), transfer.Options{KeepGoing: true}, job(src, "one", dst, "v3"), job(src, "two", dst, "v3"))
	wantErr(t, "two images of one name", err, oci.ErrInvalid)
	if p.Images[0].Err != nil || p.Images[1].Err == nil {
		t.Errorf("%v, %v", p.Images[0].Err, p.Images[1].Err)
	}
	wantTag(t, dst, "v3", one.Root.Digest)
}

func TestMountsWithinAHost(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 5, 1000)
	host := mem.New()
	a := repo(t, host, "a")
	push(t, a, f, "v1")
	p := must(t, transfer.Options{}, job(a, "v1", repo(t, host, "b"), "v1"))
	if ops(p) != "0 skip 6 mount 0 put 1 tag" || p.Moved() != 0 {
		t.Errorf("%s, %d bytes", ops(p), p.Moved())
	}
	// From elsewhere, c gets the bytes and d mounts them.
	other := repo(t, mem.New(), "x")
	g := ocitest.Image(2, 5, 1000)
	push(t, other, g, "v1")
	p = must(t, transfer.Options{}, job(other, "v1", repo(t, host, "c"), "v1"), job(other, "v1", repo(t, host, "d"), "v1"))
	if ops(p) != "0 skip 6 mount 6 put 2 tag" || p.Moved() != layerBytes(g) {
		t.Errorf("%s, %d bytes", ops(p), p.Moved())
	}
	// What c has is skipped there, and mounted from there.
	must(t, transfer.Options{}, job(other, "v1", repo(t, host, "c"), "v2"), job(other, "v1", repo(t, host, "e"), "v1"))
	wantSame(t, repo(t, host, "e"), g)
}

func TestNoClobber(t *testing.T) {
	t.Parallel()
	f, old := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	src, dst := stocked(t, f), repo(t, mem.New(), "dst")
	push(t, dst, old, "taken")
	push(t, dst, f, "same")
	p := must(t, transfer.Options{NoClobber: true}, job(src, "v1", dst, "taken"), job(src, "v1", dst, "same"), job(src, "v1", dst, "free"))
	wantTag(t, dst, "taken", old.Root.Digest)
	wantTag(t, dst, "free", f.Root.Digest)
	if !p.Images[0].Kept || p.Images[0].Unchanged || !p.Images[1].Unchanged || p.Images[1].Kept || p.Images[2].Kept {
		t.Errorf("%+v %+v %+v", p.Images[0], p.Images[1], p.Images[2])
	}
	must(t, transfer.Options{}, job(src, "v1", dst, "taken"))
	wantTag(t, dst, "taken", f.Root.Digest)
}

// A tag that somebody else gives between the plan and the run is kept, too.
func TestNoClobberRace(t *testing.T) {
	t.Parallel()
	f, other := ocitest.Image(1, 1, 10), ocitest.Image(2, 1, 10)
	dst := repo(t, mem.New(), "dst")
	p, err := transfer.Make(t.Context(), []transfer.Job{job(stocked(t, f), "v1", dst, "v1")}, transfer.Options{NoClobber: true})
	if err != nil || p.Images[0].Kept {
		t.Fatal(err, p.Images[0])
	}
	push(t, dst, other, "v1")
	if err := p.Run(t.Context()); err != nil || !p.Images[0].Kept {
		t.Errorf("%v, %+v", err, p.Images[0])
	}
	wantTag(t, dst, "v1", other.Root.Digest)
}

// rooted is a store that drops what is no root of it.
type rooted struct {
	oci.Store
	is        bool
	published int
}

func (r *rooted) Rooted(context.Context, oci.Descriptor) (bool, error) { return r.is, nil }

func (r *rooted) Publish(ctx context.Context, b oci.Blob, names ...string) error {
	r.published++
	return oci.Publish(ctx, r.Store, b, names...)
}

// What is there without being a root is published again if it gets no name.
func TestCopyMakesRoots(t *testing.T) {
	t.Parallel()
	f := ocitest.Image(1, 1, 10)
	for _, is := range []bool{true, false} {
		dst := &rooted{Store: repo(t, mem.New(), "dst"), is: is}
		push(t, dst.Store, f)
		must(t, transfer.Options{}, job(stocked(t, f), "v1", dst, ""))
		if want := map[bool]int{true: 0, false: 1}[is]; dst.published != want {
			t.Errorf("root %t: published %d times", is, dst.published)
		}
	}
}

func TestPlanRunsOnce(t *testing.T) {
	t.Parallel()
	dst := repo(t, mem.New(), "dst")
	p := must(t, transfer.Options{}, job(stocked(t, ocitest.Image(1, 1, 10)), "v1", dst, "v1"))
	wantErr(t, "again", p.Run(t.Context()), oci.ErrInvalid)
	if p = must(t, transfer.Options{}); len(p.Steps) != 0 {
		t.Error("a plan of nothing has steps")
	}
}

func TestTenThousandTasks(t *testing.T) {
	t.Parallel()
	src, host := mem.New(), mem.New()
	var jobs []transfer.Job
	for i := range 100 {
		name := fmt.Sprintf("r%02d", i)
		f := ocitest.Image(uint64(i), 98, 10)
		push(t, repo(t, src, name), f, "v1")
		jobs = append(jobs, job(repo(t, src, name), "v1", repo(t, host, name), "v1"))
	}
	p := must(t, transfer.Options{}, jobs...)
	if n := len(p.Steps); n != 10_000 {
		t.Errorf("%d steps", n)
	}
	for i := range 100 {
		wholeTags(t, repo(t, host, fmt.Sprintf("r%02d", i)))
	}
}

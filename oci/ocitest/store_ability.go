// SPDX-License-Identifier: Apache-2.0

package ocitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/dray-tools/dray/oci"
)

var abilityTests = []storeTest{
	{"ListerOfARepositoryThatIsNotThere", func(t *testing.T, s oci.Store) {
		_, err := collect(ability[oci.Lister](t, s, "Lister").Tags(t.Context()))
		wantErr(t, "tags", err, oci.ErrNotFound)
	}},
	{"ListerSortsAndListsOnce", func(t *testing.T, s oci.Store) {
		l := ability[oci.Lister](t, s, "Lister")
		f, g := Image(60, 1, 10), Image(61, 1, 10)
		push(t, s, f)
		if got, err := collect(l.Tags(t.Context())); err != nil || len(got) != 0 {
			t.Errorf("without tags: %v, %v", got, err)
		}
		push(t, s, f, "b", "a10", "A", "a-1", "a_1", "a.1", "a", "latest")
		push(t, s, g, "b", "0")
		want := []string{"0", "A", "a", "a-1", "a.1", "a10", "a_1", "b", "latest"}
		got, err := collect(l.Tags(t.Context()))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		for name := range l.Tags(t.Context()) { // a consumer may stop
			if name != "0" {
				t.Errorf("first is %s", name)
			}
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = collect(l.Tags(ctx))
		wantErr(t, "tags", err, context.Canceled)
	}},
	{"ReferrerFindsAndFilters", testReferrers},
	{"DeleterTakesTheTags", testDelete},
	{"DeleterOfBlobs", func(t *testing.T, s oci.Store) {
		del := ability[oci.Deleter](t, s, "Deleter")
		a, b := oci.Bytes(oci.MediaLayer, Random(70, 100)), oci.Bytes(oci.MediaLayer, Random(71, 100))
		put(t, s, a, b)
		supported(t, "delete", del.Delete(t.Context(), a.Descriptor()))
		wantAbsent(t, s, a.Descriptor())
		wantSame(t, s, b)
		wantErr(t, "second delete", del.Delete(t.Context(), a.Descriptor()), oci.ErrNotFound)
		put(t, s, a)
		wantSame(t, s, a)
	}},
	{"UntaggerLeavesTheManifest", func(t *testing.T, s oci.Store) {
		u := ability[oci.Untagger](t, s, "Untagger")
		f := Image(72, 1, 10)
		push(t, s, f, "v1", "v2")
		supported(t, "untag", u.Untag(t.Context(), "v1"))
		_, err := s.Resolve(t.Context(), "v1")
		wantErr(t, "resolve", err, oci.ErrNotFound)
		wantResolve(t, s, "v2", f.Root)
		wantResolve(t, s, string(f.Root.Digest), f.Root)
		wantErr(t, "second untag", u.Untag(t.Context(), "v1"), oci.ErrNotFound)
		if err := u.Untag(t.Context(), "v2"); err != nil {
			t.Fatal(err)
		}
		wantSame(t, s, f.Blob(f.Root.Digest))
	}},
	{"RangerOpensTheMiddle", func(t *testing.T, s oci.Store) {
		r := ability[oci.Ranger](t, s, "Ranger")
		raw := Random(73, 10_000)
		b := oci.Bytes(oci.MediaLayer, raw)
		put(t, s, b)
		for _, c := range []struct{ offset, length, end int64 }{
			{0, -1, 10_000}, {0, 10_000, 10_000}, {0, 1, 1}, {1, 1, 2}, {9999, 1, 10_000}, {9999, -1, 10_000},
			{5000, -1, 10_000}, {5000, 2500, 7500}, {9000, 5000, 10_000},
		} {
			rc, err := r.OpenRange(t.Context(), b.Descriptor(), c.offset, c.length)
			supported(t, "open range", err)
			got, err := io.ReadAll(rc)
			_ = rc.Close()
			if err != nil || !slices.Equal(got, raw[c.offset:c.end]) {
				t.Errorf("offset %d, length %d: got %d bytes, %v", c.offset, c.length, len(got), err)
			}
		}
		missing := oci.Bytes(oci.MediaLayer, Random(74, 100)).Descriptor()
		rc, err := r.OpenRange(t.Context(), missing, 10, -1)
		if err == nil {
			_, err = io.ReadAll(rc)
			_ = rc.Close()
		}
		wantErr(t, "open range of what is not there", err, oci.ErrNotFound)
	}},
	{"StreamerKeepsWhatItIsTold", func(t *testing.T, s oci.Store) {
		to := ability[oci.Streamer](t, s, "Streamer")
		for i, n := range []int{0, 1, 100, 1_000_000} {
			b := oci.Bytes(oci.MediaLayer, Random(uint64(80+i), n))
			in, ended := bytes.NewReader(content(t, b)), false
			err := to.Stream(t.Context(), in, func() (oci.Descriptor, error) {
				ended = in.Len() == 0
				return b.Descriptor(), nil
			})
			supported(t, "stream", err)
			if !ended {
				t.Error("the digest was asked for before the end")
			}
			wantSame(t, s, b)
			if how, err := s.Put(t.Context(), b); how != oci.Existed || err != nil {
				t.Errorf("put after the stream: %v, %v", how, err)
			}
		}
	}},
	{"StreamerKeepsNothingElse", func(t *testing.T, s oci.Store) {
		to := ability[oci.Streamer](t, s, "Streamer")
		good, other := oci.Bytes(oci.MediaLayer, Random(84, 10_000)), oci.Bytes(oci.MediaLayer, Random(85, 10_000))
		long := good.Descriptor()
		long.Size++
		boom := errors.New("boom")
		for name, c := range map[string]struct {
			r    io.Reader
			d    oci.Descriptor
			err  error
			want error
		}{
			"another digest":   {r: bytes.NewReader(content(t, good)), d: other.Descriptor(), want: oci.ErrCorrupt},
			"another size":     {r: bytes.NewReader(content(t, good)), d: long, want: oci.ErrCorrupt},
			"no digest":        {r: bytes.NewReader(content(t, good)), err: boom, want: boom},
			"a failing reader": {r: io.MultiReader(bytes.NewReader(content(t, good)), iotest.ErrReader(boom)), d: good.Descriptor(), want: boom},
		} {
			err := to.Stream(t.Context(), c.r, func() (oci.Descriptor, error) { return c.d, c.err })
			if errors.Is(err, oci.ErrUnsupported) {
				supported(t, "stream", err)
			}
			wantErr(t, name, err, c.want)
			wantAbsent(t, s, good.Descriptor())
			wantAbsent(t, s, other.Descriptor())
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := to.Stream(ctx, funcReader(func(p []byte) (int, error) { cancel(); return len(p), nil }), nil)
		wantErr(t, "after the end of the context", err, context.Canceled)
		put(t, s, good)
		wantSame(t, s, good)
	}},
	{"LocatorIsStable", func(t *testing.T, s oci.Store) {
		l := ability[oci.Locator](t, s, "Locator")
		host, name := l.Locate()
		again, same := l.Locate()
		if host == "" || host != again || name != same {
			t.Errorf("got %q %q, then %q %q", host, name, again, same)
		}
	}},
}

func testReferrers(t *testing.T, s oci.Store) {
	r := ability[oci.Referrer](t, s, "Referrer")
	w := Symbols(t, `
		l     = layer 10
		image = image l
		other = image l platform=linux/arm64
		sig   = artifact l type=application/x.sig subject=image note=k=v
		sbom  = artifact l type=application/x.sbom subject=image
		stray = artifact l type=application/x.sig subject=other
		conf  = image l subject=image
		list  = index sig type=application/x.list subject=image
		late  = artifact l type=application/x.sig subject=list
	`)
	want := func(subject, filter string, names ...string) {
		t.Helper()
		got, err := collect(r.Referrers(t.Context(), w.Fixture(subject).Root, filter))
		supported(t, "referrers", err)
		have := map[oci.Digest]oci.Descriptor{}
		for _, d := range got {
			have[d.Digest] = d
		}
		if len(got) != len(names) || len(have) != len(names) {
			t.Errorf("referrers of %s with filter %q: got %d, want %d", subject, filter, len(got), len(names))
		}
		for _, name := range names {
			root := w.Fixture(name).Root
			d, ok := have[root.Digest]
			if !ok || d.MediaType != root.MediaType || d.Size != root.Size {
				t.Errorf("referrers of %s with filter %q: %s is %+v", subject, filter, name, d)
			}
		}
		if d, ok := have[w.Fixture("sig").Root.Digest]; ok && (d.ArtifactType != "application/x.sig" || d.Annotations["k"] != "v") {
			t.Errorf("sig lacks its type or annotation: %+v", d)
		}
		if d, ok := have[w.Fixture("conf").Root.Digest]; ok && d.ArtifactType != oci.MediaConfig {
			t.Errorf("an image without artifactType goes by that of its config: %+v", d)
		}
	}
	want("image", "")
	push(t, s, w.Fixture("sig")) // before its subject
	want("image", "", "sig")
	for _, name := range []string{"image", "other", "sbom", "stray", "conf", "list"} {
		push(t, s, w.Fixture(name))
	}
	want("image", "", "sig", "sbom", "conf", "list")
	want("image", "application/x.sig", "sig")
	want("image", oci.MediaConfig, "conf")
	want("image", "application/x.list", "list")
	want("image", "application/x.none")
	want("other", "", "stray")
	want("list", "")
	push(t, s, w.Fixture("late"), "late")
	push(t, s, w.Fixture("late")) // again: listed once
	want("list", "", "late")
	if del, ok := oci.As[oci.Deleter](s); ok {
		supported(t, "delete", del.Delete(t.Context(), w.Fixture("sbom").Root))
		want("image", "", "sig", "conf", "list")
	}
}

func testDelete(t *testing.T, s oci.Store) {
	del := ability[oci.Deleter](t, s, "Deleter")
	f, g := Image(75, 1, 10), Image(76, 1, 10)
	push(t, s, f, "v1", "v1.0")
	push(t, s, g, "v2")
	supported(t, "delete", del.Delete(t.Context(), f.Root))
	wantAbsent(t, s, f.Root)
	for _, name := range []string{"v1", "v1.0", string(f.Root.Digest)} {
		_, err := s.Resolve(t.Context(), name)
		wantErr(t, "resolve "+name, err, oci.ErrNotFound)
	}
	if l, ok := oci.As[oci.Lister](s); ok {
		if got, err := collect(l.Tags(t.Context())); err != nil || !slices.Equal(got, []string{"v2"}) {
			t.Errorf("tags: got %q, %v", got, err)
		}
	}
	wantResolve(t, s, "v2", g.Root)
	wantErr(t, "second delete", del.Delete(t.Context(), f.Root), oci.ErrNotFound)
	push(t, s, f, "v1")
	wantResolve(t, s, "v1", f.Root)
}

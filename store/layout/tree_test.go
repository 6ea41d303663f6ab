// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/layout"
)

func repository(t testing.TB, c oci.Catalog, name string) oci.Store {
	t.Helper()
	s, err := c.Repository(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every name that the specification allows is a repository of its own, also
// one that is called as a part of a layout.
func TestBad_105_NamesOfLayoutParts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := layout.Tree(dir, layout.Options{})
	names := []string{"a", "a/blobs", "a/blobs/sha256", "a/index.json", "a/index.json/b", "a/ingest", "a/oci-layout", "blobs", "blobs/sha256", "con", "con.txt/nul", "ingest"}
	slices.Reverse(names) // children first
	for i, name := range names {
		push(t, repository(t, c, name), ocitest.Image(uint64(i), 1, 10), "v1")
	}
	for i, name := range names {
		for _, c := range []oci.Catalog{c, layout.Tree(dir, layout.Options{ReadOnly: true})} {
			f := ocitest.Image(uint64(i), 1, 10)
			wantResolve(t, repository(t, c, name), "v1", f.Root)
			wantGraph(t, repository(t, c, name), f.Root)
		}
	}
	slices.Reverse(names)
	if got, err := collect(c.Repositories(t.Context())); err != nil || !slices.Equal(got, names) {
		t.Errorf("got %q, %v", got, err)
	}
	wantGraph(t, open(t, filepath.Join(dir, "a", "~blobs", "sha256"), layout.Options{}), ocitest.Image(uint64(len(names)-1-slices.Index(names, "a/blobs/sha256")), 1, 10).Root)
}

func TestTreeDoesNotFollowLinksOut(t *testing.T) {
	t.Parallel()
	outside, f := made(t)
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	c := layout.Tree(dir, layout.Options{})
	before := snapshot(t, filepath.Dir(outside))
	for _, name := range []string{"out", "up/image", "out/new", "up/new"} {
		s := repository(t, c, name)
		if _, err := s.Resolve(t.Context(), "v1"); err == nil {
			t.Errorf("%s was read", name)
		}
		if _, err := s.Put(t.Context(), layerOf(f)); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if !equalMaps(before, snapshot(t, filepath.Dir(outside))) {
		t.Error("something was written outside")
	}
	if got, err := collect(c.Repositories(t.Context())); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTreeReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := layout.Tree(filepath.Join(dir, "none"), layout.Options{ReadOnly: true})
	s := repository(t, c, "a")
	_, err := s.Put(t.Context(), layerBlob(1, 10))
	wantErr(t, "put", err, oci.ErrDenied)
	_, err = s.Resolve(t.Context(), "v1")
	wantErr(t, "resolve", err, oci.ErrNotFound)
	if got, err := collect(c.Repositories(t.Context())); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("it made %q", got)
	}
}

// A mount is a hard link: no bytes are written.
func TestTreeMounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := layout.Tree(dir, layout.Options{})
	b := layerBlob(1, 2<<20)
	put(t, repository(t, c, "a"), b, oci.Sent)
	n := count(b)
	how, err := repository(t, c, "b/c").Put(t.Context(), n, "none", "../a", "b/c", "a")
	if err != nil || how != oci.Mounted || n.opens.Load()+n.ranges.Load() != 0 {
		t.Errorf("got %v, %v, %d opens", how, err, n.opens.Load())
	}
	one, err := os.Stat(blobFile(filepath.Join(dir, "a"), b.Descriptor().Digest))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.Stat(blobFile(filepath.Join(dir, "b", "c"), b.Descriptor().Digest))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(one, two) {
		t.Error("the file is a copy")
	}
	wantClean(t, filepath.Join(dir, "b", "c"))

	// A stump is replaced by the link, a broken source is not mounted.
	stump := blobFile(filepath.Join(dir, "b", "c"), b.Descriptor().Digest)
	if err := os.Remove(stump); err != nil {
		t.Fatal(err)
	}
	write(t, stump, []byte("stump"))
	if how, err = repository(t, c, "b/c").Put(t.Context(), n, "a"); err != nil || how != oci.Mounted {
		t.Errorf("got %v, %v", how, err)
	}
	if err := flip(100)(stump); err != nil { // both
		t.Fatal(err)
	}
	if how, err = repository(t, c, "d").Put(t.Context(), n, "a", "b/c"); err != nil || how != oci.Sent || n.opens.Load() != 1 {
		t.Errorf("got %v, %v, %d opens", how, err, n.opens.Load())
	}
	wantClean(t, filepath.Join(dir, "b", "c"))
}

func TestTreeTagsAreTags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := ocitest.Image(1, 1, 10)
	l := open(t, filepath.Join(dir, "a"), layout.Options{Create: true})
	push(t, l, f, "1.0", "docker.io/library/a:2.0", "a b"[:1], "not/a:ta+g")
	s := repository(t, layout.Tree(dir, layout.Options{}), "a")
	got, err := collect(s.(oci.Lister).Tags(t.Context()))
	if err != nil || !slices.Equal(got, []string{"1.0", "2.0", "a"}) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, name := range got {
		wantResolve(t, s, name, f.Root)
	}
	for _, name := range []string{"a:b", "a/b", "-a", "ü"} {
		wantErr(t, name, s.Tag(t.Context(), name, f.Root), oci.ErrInvalid)
	}
}

// many makes a layout that holds full names, as hauler, containerd, skopeo and
// others write them.
func many(t *testing.T) (dir string, f [6]ocitest.Fixture) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "bundle")
	l := open(t, dir, layout.Options{Create: true})
	doc := `{"schemaVersion":2,"manifests":[`
	for i, notes := range []string{
		`"io.containerd.image.name":"docker.io/library/busybox:1.35","org.opencontainers.image.ref.name":"1.35"`, // containerd, BuildKit
		`"org.opencontainers.image.ref.name":"docker.io/library/busybox:1.36"`,                                   // crane --annotate-ref
		`"kind":"dev.hauler/image","org.opencontainers.image.ref.name":"org/app:v1","io.containerd.image.name":"ghcr.io/org/app:v1"`,
		`"kind":"dev.hauler/sigs","org.opencontainers.image.ref.name":"org/app:v1","io.containerd.image.name":"ghcr.io/org/app:v1"`,
		`"org.opencontainers.image.ref.name":"localhost:5000/org/tool:1.36"`,
		`"org.opencontainers.image.ref.name":"plain"`, // skopeo
	} {
		f[i] = ocitest.Image(uint64(i+1), 1, 10)
		push(t, l, f[i])
		if i > 0 {
			doc += ","
		}
		doc += fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`, f[i].Root.MediaType, f[i].Root.Digest, f[i].Root.Size, notes)
	}
	write(t, filepath.Join(dir, "index.json"), []byte(doc+"]}"))
	return dir, f
}

func TestFullNames(t *testing.T) {
	t.Parallel()
	dir, f := many(t)
	l := open(t, dir, layout.Options{})
	for name, want := range map[string]int{
		"1.35": 0, "docker.io/library/busybox:1.35": 0, "library/busybox:1.35": 0, "busybox:1.35": 0,
		"docker.io/library/busybox:1.36": 1, "busybox:1.36": 1, "tool:1.36": 4, "v1": 2, "org/app:v1": 2, "ghcr.io/org/app:v1": 2, "plain": 5,
	} {
		wantResolve(t, l, name, f[want].Root)
	}
	for _, name := range []string{"1.36", ""} {
		_, err := l.Resolve(t.Context(), name)
		wantErr(t, name, err, oci.ErrInvalid)
		if name != "" && !strings.Contains(err.Error(), "localhost:5000/org/tool:1.36") {
			t.Errorf("%v does not name the candidates", err)
		}
	}
	for _, name := range []string{"1.3", "usybox:1.35", "app", "org/app"} {
		_, err := l.Resolve(t.Context(), name)
		wantErr(t, name, err, oci.ErrNotFound)
	}
	got, err := collect(l.Tags(t.Context()))
	if want := []string{"1.35", "docker.io/library/busybox:1.36", "localhost:5000/org/tool:1.36", "org/app:v1", "plain"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	// Retagging replaces the image and leaves its signature; the long name
	// follows the short one.
	if err := errors.Join(l.Tag(t.Context(), "org/app:v1", f[5].Root), l.Tag(t.Context(), "1.35", f[1].Root)); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, l, "org/app:v1", f[5].Root)
	wantResolve(t, l, "docker.io/library/busybox:1.35", f[1].Root)
	if got := len(entries(t, dir)); got != 6 {
		t.Errorf("index.json has %d entries", got)
	}
}

func TestLayoutOfManyNamesAsCatalog(t *testing.T) {
	t.Parallel()
	dir, f := many(t)
	c := layout.Tree(dir, layout.Options{})
	got, err := collect(c.Repositories(t.Context()))
	if want := []string{"bundle", "library/busybox", "org/app", "org/tool"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for name, want := range map[string]int{
		"library/busybox 1.35": 0, "docker.io/library/busybox 1.36": 1, "org/app v1": 2, "ghcr.io/org/app v1": 2, "org/tool 1.36": 4, "bundle plain": 5,
	} {
		var repo, tag string
		_, _ = fmt.Sscan(name, &repo, &tag)
		wantResolve(t, repository(t, c, repo), tag, f[want].Root)
	}
	s := repository(t, c, "library/busybox")
	tags := func(want ...string) {
		t.Helper()
		if got, err := collect(s.(oci.Lister).Tags(t.Context())); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	tags("1.35", "1.36")
	_, err = s.Resolve(t.Context(), "v1")
	wantErr(t, "tag of another repository", err, oci.ErrNotFound)
	_, err = collect(repository(t, c, "none").(oci.Lister).Tags(t.Context()))
	wantErr(t, "tags of no repository", err, oci.ErrNotFound)

	if err := oci.Publish(t.Context(), s, f[4].Blob(f[4].Root.Digest), "new"); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(t.Context(), "1.35", f[5].Root); err != nil {
		t.Fatal(err)
	}
	tags("1.35", "1.36", "new")
	wantResolve(t, open(t, dir, layout.Options{}), "docker.io/library/busybox:new", f[4].Root)
	if err := s.(oci.Untagger).Untag(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	tags("1.35", "1.36")
	wantErr(t, "untag", s.(oci.Untagger).Untag(t.Context(), "new"), oci.ErrNotFound)

	// What another repository names stays.
	if err := s.(oci.Deleter).Delete(t.Context(), f[5].Root); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, repository(t, c, "bundle"), "plain", f[5].Root)
	if err := s.(oci.Deleter).Delete(t.Context(), f[1].Root); err != nil {
		t.Fatal(err)
	}
	_, err = s.Resolve(t.Context(), string(f[1].Root.Digest))
	wantErr(t, "resolve", err, oci.ErrNotFound)
	wantErr(t, "delete a blob", s.(oci.Deleter).Delete(t.Context(), layerOf(f[2]).Descriptor()), oci.ErrUnsupported)
	if err := repository(t, c, "fresh/one").Tag(context.Background(), "v9", f[2].Root); err != nil {
		t.Fatal(err)
	}
	wantResolve(t, repository(t, c, "fresh/one"), "v9", f[2].Root)
}

// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// What builds ask and send: a second time two requests an image, with documents
// too, and one if the base is named by its digest.
func TestBuildRequests(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	base := h.putPlatforms("base:1", "linux/amd64", "linux/arm64", "linux/arm/v7")
	h.putPlatforms("other:1", "linux/amd64")
	for _, c := range []struct {
		name     string
		attest   []build.Attestor
		from     string
		platform []oci.Platform
		again    []string
	}{
		{"index", nil, "base:1", nil, []string{"HEAD /base/manifests/1", "HEAD /app/manifests/index"}},
		{"documents", []build.Attestor{notary{"a"}, notary{"b"}}, "base:1", nil, []string{"HEAD /base/manifests/1", "HEAD /app/manifests/documents"}},
		{"image", []build.Attestor{notary{"a"}}, "base:1", []oci.Platform{{OS: "linux", Architecture: "arm64"}}, []string{"HEAD /base/manifests/1", "HEAD /app/manifests/image"}},
		{"pinned", []build.Attestor{notary{"a"}}, "base@" + string(base.Digest), nil, []string{"HEAD /app/manifests/pinned"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := dray.Env{CacheDir: t.TempDir()}
			j := h.job("hello", "app:"+c.name, c.from)
			j.Want.Platforms = c.platform
			first := mustBuild(t, env, dray.BuildOptions{Attestors: c.attest}, j)
			h.requests()
			again := mustBuild(t, env, dray.BuildOptions{Attestors: c.attest}, j)
			seen, sent := h.requests()
			slices.Sort(c.again)
			slices.Sort(seen)
			if !slices.Equal(seen, c.again) || sent > 0 {
				t.Errorf("%d bytes: %q", sent, seen)
			}
			if again.Builds[0].Root.Digest != first.Builds[0].Root.Digest || !again.Images[0].Unchanged {
				t.Errorf("%+v, then %+v", first.Builds[0], again.Builds[0])
			}
			h.validated("app:" + c.name)
		})
	}
}

// A first build asks for each thing of the base once and reads no layer of it
// twice; another text sends one layer, however many platforms there are.
func TestBuildFirst(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	env := dray.Env{CacheDir: t.TempDir()}
	h.requests()
	mustBuild(t, env, dray.BuildOptions{}, h.job("one", "app:1", "base:1"))
	count := map[string]int{}
	seen, _ := h.requests()
	for _, s := range seen {
		count[s]++
	}
	for what, n := range map[string]int{
		"GET /base/manifests/1": 1, "GET /base/manifests/…": 2, "GET /base/blobs/…": 5, // two configs, and three layers for their links
		"HEAD /app/manifests/1": 1, "POST /app/blobs/…": 6, "PUT /app/blobs/…": 3, "PUT /app/manifests/…": 2, "PUT /app/manifests/1": 1,
	} {
		if count[what] != n {
			t.Errorf("%d times %s, want %d", count[what], what, n)
		}
		delete(count, what)
	}
	if len(count) > 0 {
		t.Errorf("besides, %v", count)
	}
	h.requests()
	mustBuild(t, env, dray.BuildOptions{}, h.job("two", "app:2", "base:1"))
	seen, _ = h.requests()
	puts := 0
	for _, s := range seen {
		if strings.HasPrefix(s, "GET ") {
			t.Errorf("read again: %s", s)
		}
		if strings.HasPrefix(s, "PUT /app/blobs") {
			puts++
		}
	}
	if puts != 3 { // a layer and two configs
		t.Errorf("%d blobs: %q", puts, seen)
	}
	h.validated("app:2")
}

// Several builds of a run look a base up once.
func TestBuildSharesBases(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	env := dray.Env{CacheDir: t.TempDir()}
	jobs := []dray.BuildJob{h.job("a", "a:1", "base:1"), h.job("b", "b:1", "base:1"), h.job("c", "c:1", "base:1")}
	mustBuild(t, env, dray.BuildOptions{}, jobs...)
	h.requests()
	b := mustBuild(t, env, dray.BuildOptions{}, jobs...)
	seen, sent := h.requests()
	slices.Sort(seen)
	if want := []string{"HEAD /a/manifests/1", "HEAD /b/manifests/1", "HEAD /base/manifests/1", "HEAD /c/manifests/1"}; !slices.Equal(seen, want) || sent > 0 {
		t.Errorf("%d bytes: %q", sent, seen)
	}
	for n, i := range b.Builds {
		if i.Targets[0] != jobs[n].Targets[0] {
			t.Errorf("build %d is of %q", n, i.Targets)
		}
	}
}

// Many builds share a cache directory at the same time, while somebody spoils it.
func TestBuildCacheIsShared(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	env := dray.Env{CacheDir: t.TempDir()}
	o := dray.BuildOptions{Attestors: []build.Attestor{notary{"a"}}}
	want := mustBuild(t, dray.Env{}, o, h.job("x", "app:0", "base:1")).Builds[0].Root.Digest
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 3 {
				b, err := built(t, env, o, h.job("x", fmt.Sprint("app:", n), "base:1"))
				if err != nil || b.Builds[0].Root.Digest != want {
					t.Errorf("build %d.%d: %v", n, i, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			spoil(t, env.CacheDir)
		}
	})
	wg.Wait()
	for n := range 8 {
		h.validated(fmt.Sprint("app:", n))
	}
}

// spoil cuts, empties and fills with nonsense what is in a cache.
func spoil(t *testing.T, dir string) {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".new-") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil // it is just being replaced
		}
		switch n++; n % 4 {
		case 0:
			raw = raw[:len(raw)/2]
		case 1:
			raw = []byte("null")
		case 2:
			raw = append(raw, "{}"...)
		case 3:
			raw = slices.Repeat([]byte("x"), len(raw))
		}
		return os.WriteFile(path, raw, 0o600)
	})
	if err != nil {
		t.Error(err)
	}
}

// What a cache says is not believed: neither wrong bytes nor that a name means
// what it meant. A cache that is gone costs time and nothing else.
func TestBuildCacheIsNotBelieved(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	base := h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	evil := h.put("base:evil", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, tarFile{name: "evil"})}})
	env := dray.Env{CacheDir: t.TempDir()}
	want := map[string]oci.Digest{}
	for _, from := range []string{"base:1", "base@" + string(base.Digest), "base:evil"} {
		want[from] = mustBuild(t, env, dray.BuildOptions{}, h.job("x", "app:1", from)).Builds[0].Root.Digest
	}
	manifests := filepath.Join(env.CacheDir, "manifests")
	other, err := os.ReadFile(filepath.Join(manifests, "sha256-"+evil.Digest.Encoded()))
	if err != nil {
		t.Fatal(err)
	}
	note := func(mediaType, digest string) []byte {
		return jsonOf(t, map[string]any{"mediaType": mediaType, "digest": digest})
	}
	for name, harm := range map[string]struct{ content, names []byte }{
		"another manifest":   {content: other},
		"nothing":            {content: []byte{}, names: []byte{}},
		"a name that lies":   {names: note(oci.MediaManifest, string(evil.Digest))},
		"another media type": {names: note(oci.MediaManifest, string(base.Digest))},
		"a name that climbs": {names: note(oci.MediaIndex, "../../etc/passwd")},
		"unknown algorithm":  {names: note(oci.MediaIndex, "sha999:aa")},
		"much":               {content: slices.Repeat([]byte(" "), 5<<20), names: slices.Repeat([]byte(" "), 5<<20)},
	} {
		for dir, data := range map[string][]byte{manifests: harm.content, filepath.Join(manifests, "names"): harm.names} {
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) == 0 {
				t.Fatal(err, files)
			}
			for _, path := range files {
				if data == nil || filepath.Base(path) == "names" {
					continue
				}
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		for from, want := range want {
			if from == "base:evil" {
				continue
			}
			if got := mustBuild(t, env, dray.BuildOptions{}, h.job("x", "app:1", from)).Builds[0].Root.Digest; got != want {
				t.Errorf("%s, %s: %s, want %s", name, from, got, want)
			}
		}
	}
	if err := os.RemoveAll(env.CacheDir); err != nil {
		t.Fatal(err)
	}
	h.requests()
	if got := mustBuild(t, env, dray.BuildOptions{}, h.job("x", "app:1", "base:1")).Builds[0].Root.Digest; got != want["base:1"] {
		t.Errorf("without a cache %s, want %s", got, want["base:1"])
	}
	h.validated("app:1")
}

// The base is what its tag means now, and the annotations say which that was: the
// digests that the registry serves.
func TestBuildBaseMoves(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	env := dray.Env{CacheDir: t.TempDir()}
	for n := range 3 {
		base := h.putPlatforms("base:1", []string{"linux/amd64", "linux/arm64", "linux/s390x"}[:n+1]...)
		mustBuild(t, env, dray.BuildOptions{}, h.job("x", "app:1", "base:1"))
		list := h.index("base", "1").Manifests
		served := h.index("app", "1")
		if n > 0 {
			if got := served.Annotations["org.opencontainers.image.base.digest"]; got != string(base.Digest) || len(served.Manifests) != n+1 {
				t.Errorf("%d images on %s, want %d on %s", len(served.Manifests), got, n+1, base.Digest)
			}
		}
		for i := range list {
			m := served
			if n > 0 {
				m = h.index("app", string(served.Manifests[i].Digest))
			}
			if got := m.Annotations["org.opencontainers.image.base.digest"]; got != string(list[i].Digest) {
				t.Errorf("image %d of %d is on %s, want %s", i, n+1, got, list[i].Digest)
			}
			if got := m.Annotations["org.opencontainers.image.base.name"]; got != h.name+"/base:1" {
				t.Errorf("the base is called %s", got)
			}
		}
	}
}

// Neither the clock nor the directory counts, nor when the files were written.
func TestBuildIsRepeatable(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	at := time.Unix(1.7e9, 0)
	for name, o := range map[string]dray.BuildOptions{"plain": {}, "epoch": {Time: at, Created: at}} {
		digests := map[oci.Digest]bool{}
		for n := range 3 {
			j := h.job("x", "app:1", "base:1")
			dir := filepath.Join(t.TempDir(), fmt.Sprint("deep/", n), "site")
			err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644),
				os.Chtimes(filepath.Join(dir, "file"), at.AddDate(n, 0, 0), at.AddDate(n, 0, 0)))
			if err != nil {
				t.Fatal(err)
			}
			j.Builder = &plain{name: dir, in: input.Dir(dir, "/srv/site", layer.CreateOptions{})}
			digests[mustBuild(t, dray.Env{}, o, j).Builds[0].Root.Digest] = true
		}
		if len(digests) != 1 {
			t.Errorf("%s: %v", name, digests)
		}
		h.validated("app:1")
	}
}

// Documents are there before the tag is, and blobs before what refers to them.
func TestBuildOrder(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	h.requests()
	b := mustBuild(t, dray.Env{}, dray.BuildOptions{Attestors: []build.Attestor{notary{"a"}}}, h.job("x", "app:1", "base:1"))
	seen, _ := h.requests()
	if last := seen[len(seen)-1]; last != "PUT /app/manifests/1" {
		t.Errorf("the last request is %s: %q", last, seen)
	}
	puts := 0
	for _, s := range seen {
		if s == "PUT /app/manifests/…" {
			puts++
		}
	}
	if puts != 5 || len(b.Builds[0].Attached) != 3 { // two images and three documents
		t.Errorf("%d manifests without a tag, %d documents", puts, len(b.Builds[0].Attached))
	}
	repo := h.repo("app")
	for _, d := range append(b.Builds[0].Images, b.Builds[0].Root) {
		n := 0
		for _, err := range repo.(oci.Referrer).Referrers(t.Context(), d, "application/vnd.example.note") {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != 1 {
			t.Errorf("%d documents about %s", n, d.Digest)
		}
	}
}

// What was attached is asked for again where somebody asks to, where another image
// had the tag, and where nothing is left.
func TestBuildAttachesAgain(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	env := dray.Env{CacheDir: t.TempDir()}
	o := dray.BuildOptions{Attestors: []build.Attestor{notary{"a"}}}
	j := h.job("x", "app:1", "base:1")
	b := mustBuild(t, env, o, j)
	repo := h.repo("app")
	note := b.Builds[0].Attached[0]
	gone := func() {
		t.Helper()
		if err := repo.(oci.Deleter).Delete(t.Context(), note); err != nil {
			t.Fatal(err)
		}
	}
	there := func(want bool) {
		t.Helper()
		if _, err := repo.Stat(t.Context(), note); (err == nil) != want {
			t.Errorf("there: %v, want %v", err, want)
		}
	}
	gone()
	mustBuild(t, env, o, j)
	there(false) // it is remembered to be there, as nobody else has changed the tag
	marks, err := filepath.Glob(filepath.Join(env.CacheDir, "attached", "*"))
	if err != nil || len(marks) == 0 {
		t.Fatal(err, marks)
	}
	for n, old := range []time.Duration{-25 * time.Hour, 25 * time.Hour} {
		if n > 0 {
			gone()
		}
		for _, m := range marks { // for a day
			if err := os.Chtimes(m, time.Time{}, time.Now().Add(old)); err != nil {
				t.Fatal(err)
			}
		}
		mustBuild(t, env, o, j)
		there(true)
	}
	gone()
	mustBuild(t, env, o, j)
	there(false) // for another day
	was, err := os.Stat(marks[0])
	if err != nil {
		t.Fatal(err)
	}
	mustBuild(t, env, o, j)
	if now, err := os.Stat(marks[0]); err != nil || !now.ModTime().Equal(was.ModTime()) { // not for ever, however often it is built
		t.Errorf("%v: %v, then %v", err, was.ModTime(), now.ModTime())
	}
	again := o
	again.AttachAgain = true
	mustBuild(t, env, again, j)
	there(true)
	gone()
	again = o
	again.NoCache = true
	mustBuild(t, env, again, j)
	there(true)
	gone()
	mustBuild(t, env, o, h.job("other", "app:1", "base:1"))
	mustBuild(t, env, o, j)
	there(true)
	gone()
	if err := repo.(oci.Deleter).Delete(t.Context(), b.Builds[0].Root); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, env, o, j)
	there(true)
}

// What a tag that is kept would have got is not remembered to be there.
func TestBuildAttachesNotToKept(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	env := dray.Env{CacheDir: t.TempDir()}
	mustBuild(t, env, dray.BuildOptions{}, h.job("other", "app:1", "base:1"))
	o := dray.BuildOptions{Attestors: []build.Attestor{notary{"a"}}}
	kept := o
	kept.NoClobber = true
	j := h.job("x", "app:1", "base:1")
	if b := mustBuild(t, env, kept, j); !b.Images[0].Kept {
		t.Errorf("%+v", b.Images[0])
	}
	mustBuild(t, env, dray.BuildOptions{}, j)
	b := mustBuild(t, env, o, j)
	if _, err := h.repo("app").Stat(t.Context(), b.Builds[0].Attached[0]); err != nil {
		t.Error(err)
	}
}

// Without a cache nothing is read from the directory and nothing written there.
func TestBuildNoCache(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.put("base:1", imageOf{platform: "linux/amd64", layers: [][]byte{tarOf(t, debian...)}})
	env := dray.Env{CacheDir: filepath.Join(t.TempDir(), "cache")}
	mustBuild(t, env, dray.BuildOptions{NoCache: true, Attestors: []build.Attestor{notary{"a"}}}, h.job("x", "app:1", "base:1"))
	for _, dir := range []string{"manifests", "layers", "outlines", "attached"} {
		if _, err := os.Stat(filepath.Join(env.CacheDir, dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	h.validated("app:1")
}

// A build that is cancelled ends, leaves no file and writes no tag.
func TestBuildCancelled(t *testing.T) {
	t.Parallel()
	h := newCounted(t)
	h.putPlatforms("base:1", "linux/amd64", "linux/arm64")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	o := dray.BuildOptions{Packs: func(string, int) { cancel(why) }}
	env := dray.Env{TempDir: t.TempDir()}
	c := dray.New(env)
	if _, err := c.Build(ctx, []dray.BuildJob{h.job(string(ocitest.Random(1, 12<<20)), "app:1", "base:1")}, o); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	c.Close()
	if left, err := os.ReadDir(env.TempDir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := h.repo("app").Resolve(t.Context(), "1"); !errors.Is(err, oci.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

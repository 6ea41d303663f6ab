// SPDX-License-Identifier: Apache-2.0

package dray_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/internal/registries"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

func label(key, value string) dray.MutateOptions {
	return dray.MutateOptions{Images: []edit.Edit{edit.SetLabel(key, value)}}
}

func newClient(t *testing.T, env dray.Env) *dray.Client {
	t.Helper()
	env.TempDir = t.TempDir()
	c := dray.New(env)
	t.Cleanup(c.Close)
	return c
}

func copyImage(t *testing.T, from, to string) {
	t.Helper()
	if _, err := newClient(t, dray.Env{}).Copy(t.Context(), from, to, dray.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
}

func digestOf(t *testing.T, name string) oci.Digest {
	t.Helper()
	d, err := newClient(t, dray.Env{}).Resolve(t.Context(), name, dray.Side{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// places are one of each kind that has tags, with an image called 1 and another
// at other. The other one is what the tag moves to.
func places(t *testing.T) (names map[string]string, other string, r *tallied) {
	r = newTallied(t)
	for i, name := range []string{"one", "two"} {
		if err := ocitest.Image(uint64(i), 1, 1000).Push(t.Context(), r.store(t, name), "1"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	names = map[string]string{"registry": r.addr + "/app:1", "layout": "oci:" + dir + "/layout:1",
		"archive": "oci-archive:" + dir + "/oci.tar:1", "docker archive": "docker-archive:" + dir + "/docker.tar:app:1"}
	for _, to := range names {
		copyImage(t, r.addr+"/one:1", to)
	}
	return names, r.addr + "/two:1", r
}

// A tag that moves while an editor is open keeps what it means then.
func TestEditOfMovedTag(t *testing.T) {
	t.Parallel()
	names, other, _ := places(t)
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			c := newClient(t, dray.Env{})
			_, err := c.EditConfig(t.Context(), name, func(raw []byte) ([]byte, error) {
				copyImage(t, other, name)
				return []byte(strings.Replace(string(raw), "{", `{"author":"me",`, 1)), nil
			}, dray.EditOptions{})
			if !errors.Is(err, oci.ErrBusy) {
				t.Errorf("got %v", err)
			}
			if got := digestOf(t, name); got != digestOf(t, other) {
				t.Errorf("it is %s", got)
			}
		})
	}
}

// The same between the plan and the writing.
func TestEditOfMovedTagWhileWriting(t *testing.T) {
	t.Parallel()
	names, other, _ := places(t)
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			e, err := newClient(t, dray.Env{}).Mutate(t.Context(), name, label("a", "b"))
			if err != nil {
				t.Fatal(err)
			}
			copyImage(t, other, name)
			if err := e.Run(t.Context()); !errors.Is(err, oci.ErrBusy) {
				t.Errorf("got %v", err)
			}
			if got := digestOf(t, name); got != digestOf(t, other) {
				t.Errorf("it is %s", got)
			}
			// What somebody else has made of it in the same way is as good.
			e, err = newClient(t, dray.Env{}).Mutate(t.Context(), name, label("a", "b"))
			if err != nil {
				t.Fatal(err)
			}
			if same, err := newClient(t, dray.Env{}).Mutate(t.Context(), name, label("a", "b")); err != nil || same.Run(t.Context()) != nil {
				t.Fatal(err)
			}
			if err := e.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Edits of one tag at the same time: none that says to be done is lost.
func TestEditsOfOneTag(t *testing.T) {
	t.Parallel()
	names, _, _ := places(t)
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			var wg sync.WaitGroup
			errs := make([]error, 6)
			for i := range errs {
				wg.Go(func() {
					e, err := newClient(t, dray.Env{}).Mutate(t.Context(), name, label(fmt.Sprint("l", i), "x"))
					if err == nil {
						err = e.Run(t.Context())
					}
					errs[i] = err
				})
			}
			wg.Wait()
			raw, err := newClient(t, dray.Env{}).Config(t.Context(), name, dray.Side{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			done := 0
			for i, err := range errs {
				if has := strings.Contains(string(raw), fmt.Sprintf(`"l%d"`, i)); has != (err == nil) || err != nil && !errors.Is(err, oci.ErrBusy) {
					t.Errorf("label %d is there: %v; error: %v", i, has, err)
				}
				if err == nil {
					done++
				}
			}
			if done == 0 {
				t.Error("none was done")
			}
		})
	}
}

// behindMirror is an environment in which the registry up has the mirror.
func behindMirror(t *testing.T, up, mirror *tallied) dray.Env {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registries.conf")
	conf := fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", up.addr, mirror.addr)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := registries.Load(registries.Paths{Conf: file}, registries.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return dray.Env{Registries: c}
}

func push(t *testing.T, r *tallied, name string, f ocitest.Fixture, tag string) {
	t.Helper()
	if err := f.Push(t.Context(), r.store(t, name), tag); err != nil {
		t.Fatal(err)
	}
}

// wantWhole checks that a tag of a repository means an image that is whole there.
func wantWhole(t *testing.T, r *tallied, name, tag string) oci.Digest {
	t.Helper()
	s := r.store(t, name)
	d, err := s.Resolve(t.Context(), tag)
	if err != nil {
		t.Errorf("%s:%s: %v", name, tag, err)
		return ""
	}
	tree, err := oci.Graph{Root: d, Source: s}.Load(t.Context(), nil)
	if err != nil {
		t.Errorf("%s:%s: %v", name, tag, err)
		return ""
	}
	for _, b := range tree.Blobs {
		if _, err := s.Stat(t.Context(), b); err != nil {
			t.Errorf("%s:%s: %v", name, tag, err)
		}
	}
	return d.Digest
}

// What a mirror has is not at its registry, which is where copies go.
func TestCopyToMirrored(t *testing.T) {
	t.Parallel()
	src, up, mirror := newTallied(t), newTallied(t), newTallied(t)
	f := ocitest.Image(1, 2, 1000)
	push(t, src, "a", f, "1")
	push(t, mirror, "app", f, "1")
	for _, noClobber := range []bool{true, false} {
		var o dray.CopyOptions
		o.NoClobber = noClobber
		if _, err := newClient(t, behindMirror(t, up, mirror)).Copy(t.Context(), src.addr+"/a:1", up.addr+"/app:1", o); err != nil {
			t.Error(err)
		}
		wantWhole(t, up, "app", "1")
	}
	if kinds, _ := mirror.take(); len(kinds) > 0 {
		t.Errorf("the mirror was asked: %v", kinds)
	}
}

// A mirror that is behind does not bring an old image back.
func TestEditPastStaleMirror(t *testing.T) {
	t.Parallel()
	up, mirror := newTallied(t), newTallied(t)
	older, newer := ocitest.Image(1, 2, 1000), ocitest.Image(2, 2, 1000)
	push(t, mirror, "app", older, "1")
	push(t, up, "app", older, "0")
	push(t, up, "app", newer, "1")
	e, err := newClient(t, behindMirror(t, up, mirror)).Mutate(t.Context(), up.addr+"/app:1", label("a", "b"))
	if err == nil {
		err = e.Run(t.Context())
	}
	if err != nil || e.Was.Digest != newer.Root.Digest {
		t.Errorf("edited %v; %v", e, err)
	}
	if got := wantWhole(t, up, "app", "1"); got != e.Root.Digest {
		t.Errorf("it is %s, want %s", got, e.Root.Digest)
	}
}

// What was read at a mirror goes to the registry whole, though it has the same name there.
func TestEditOfWhatOnlyMirrorHas(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"mutate", "copy"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			up, mirror := newTallied(t), newTallied(t)
			push(t, mirror, "app", ocitest.Image(1, 2, 1000), "1")
			c := newClient(t, behindMirror(t, up, mirror))
			from, to := up.addr+"/app:1", up.addr+"/app:2"
			err := func() error {
				if verb == "copy" {
					_, err := c.Copy(t.Context(), from, to, dray.CopyOptions{})
					return err
				}
				o := label("a", "b")
				o.Targets = []string{to}
				e, err := c.Mutate(t.Context(), from, o)
				if err == nil {
					for _, s := range e.Steps {
						if s.Why == "exists" {
							t.Errorf("planned: %+v", s)
						}
					}
					err = e.Run(t.Context())
				}
				return err
			}()
			if err != nil {
				t.Error(err)
			}
			wantWhole(t, up, "app", "2")
		})
	}
}

// The flag --platform of edits leaves the other images in, so it is no help.
func TestEditHintsAtCopyForOneImage(t *testing.T) {
	t.Parallel()
	r := newTallied(t)
	push(t, r, "app", ocitest.Index(1, "linux/amd64", "linux/arm64"), "1")
	o := label("a", "b")
	for _, to := range []string{"docker-archive:" + t.TempDir() + "/x.tar:app:1", "docker-daemon:app:1"} {
		o.Targets = []string{to}
		_, err := newClient(t, dray.Env{}).Mutate(context.Background(), r.addr+"/app:1", o)
		if !errors.Is(err, oci.ErrUnsupported) || !strings.Contains(err.Error(), "dray copy --platform") || strings.Contains(err.Error(), "choose one platform") {
			t.Errorf("got %v", err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package ocitest_test

import (
	"errors"
	"io"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/mem"
)

func TestFixturesAreDeterministic(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		got  ocitest.Fixture
		want oci.Digest
	}{
		"image":    {ocitest.Image(1, 2, 1000), ocitest.Image(1, 2, 1000).Root.Digest},
		"index":    {ocitest.Index(1, "linux/amd64"), ocitest.Index(1, "linux/amd64").Root.Digest},
		"artifact": {ocitest.Artifact(1, "x/y", nil), ocitest.Artifact(1, "x/y", nil).Root.Digest},
	} {
		if want.got.Root.Digest != want.want {
			t.Errorf("%s: %s and %s", name, want.got.Root.Digest, want.want)
		}
		if len(want.got.Layers()) == 0 {
			t.Errorf("%s has no layers", name)
		}
	}
	if ocitest.Image(1, 1, 10).Root.Digest == ocitest.Image(2, 1, 10).Root.Digest {
		t.Error("seeds do not matter")
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	inner, err := mem.New().Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	var at string
	s := &ocitest.Fail{Store: inner, Hook: func(op string, _ oci.Descriptor) error {
		if op == at {
			return boom
		}
		return nil
	}}
	f := ocitest.Image(1, 1, 10)
	for _, at = range []string{"put", "tag"} {
		if err := f.Push(t.Context(), s, "v1"); !errors.Is(err, boom) {
			t.Errorf("%s: %v", at, err)
		}
	}
	at = ""
	if err := f.Push(t.Context(), s, "v1"); err != nil {
		t.Fatal(err)
	}
	at = "read"
	r, err := s.Open(t.Context(), f.Root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, boom) {
		t.Errorf("read: %v", err)
	}
}

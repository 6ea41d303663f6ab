// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
)

// readers are ways in which the same bytes can arrive.
var readers = map[string]func(io.Reader) io.Reader{
	"plain": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader,
	"end with data": iotest.DataErrReader,
}

func verify(wrap func(io.Reader) io.Reader, raw []byte, d oci.Descriptor) io.ReadCloser {
	return oci.Verify(io.NopCloser(wrap(bytes.NewReader(raw))), d)
}

func TestVerifyRight(t *testing.T) {
	t.Parallel()
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for _, n := range []int{0, 1, 2, 100, 70_000} {
			raw := ocitest.Random(uint64(n), n)
			d := oci.Descriptor{Digest: alg.FromBytes(raw), Size: int64(n)}
			for name, wrap := range readers {
				if err := iotest.TestReader(verify(wrap, raw, d), raw); err != nil {
					t.Errorf("%s, %d bytes, %s: %v", alg, n, name, err)
				}
				r := verify(wrap, raw, d)
				if _, err := io.ReadAll(iotest.OneByteReader(r)); err != nil {
					t.Errorf("%s, %d bytes, %s, read byte by byte: %v", alg, n, name, err)
				}
				if n, err := r.Read(make([]byte, 9)); n != 0 || err != io.EOF {
					t.Errorf("after the end: %d, %v", n, err)
				}
			}
		}
	}
}

func TestVerifyWrong(t *testing.T) {
	t.Parallel()
	raw := ocitest.Random(1, 40)
	d := oci.Bytes("", raw).Descriptor()
	wrong := map[string][]byte{"short": raw[:39], "empty": nil, "long": append(bytes.Clone(raw), 0), "very long": append(bytes.Clone(raw), raw...)}
	for bit := range 8 * len(raw) {
		flipped := bytes.Clone(raw)
		flipped[bit/8] ^= 1 << (bit % 8)
		wrong[fmt.Sprint("bit ", bit)] = flipped
	}
	for what, b := range wrong {
		for name, wrap := range readers {
			for _, consumer := range []func(io.Reader) io.Reader{readers["plain"], iotest.OneByteReader} {
				r := verify(wrap, b, d)
				got, err := io.ReadAll(consumer(r))
				if !errors.Is(err, oci.ErrCorrupt) || len(got) >= len(raw) {
					t.Errorf("%s, %s: %d bytes handed out, then %v", what, name, len(got), err)
				}
				if n, again := r.Read(make([]byte, 9)); n != 0 || again != err {
					t.Errorf("%s, %s: read again: %d, %v", what, name, n, again)
				}
			}
		}
	}
}

func TestVerifyKeepsErrors(t *testing.T) {
	t.Parallel()
	raw := ocitest.Random(2, 40)
	boom := errors.New("boom")
	for _, at := range []int{0, 20, 40} {
		r := oci.Verify(io.NopCloser(io.MultiReader(bytes.NewReader(raw[:at]), iotest.ErrReader(boom))), oci.Bytes("", raw).Descriptor())
		got, err := io.ReadAll(r)
		if !errors.Is(err, boom) || len(got) >= len(raw) {
			t.Errorf("fails after %d bytes: %d, %v", at, len(got), err)
		}
	}
	for _, d := range []oci.Descriptor{{Digest: "sha256:x", Size: 40}, {Size: 40}, {Digest: hexA, Size: -1}} {
		if got, err := io.ReadAll(verify(readers["plain"], raw, d)); err == nil || len(got) > 0 {
			t.Errorf("%+v: %d bytes, %v", d, len(got), err)
		}
	}
}

func TestVerifyHashesOnce(t *testing.T) {
	t.Parallel()
	raw := ocitest.Random(3, 40)
	d := oci.Bytes("", raw).Descriptor()
	r := verify(readers["plain"], raw, d)
	if oci.Verify(r, d) != r {
		t.Error("a verified reader is wrapped again")
	}
	other := d
	other.Size++
	if oci.Verify(r, other) == r {
		t.Error("what is verified for something else is taken")
	}
	if _, err := r.Read(make([]byte, 1)); err != nil || oci.Verify(r, d) == r {
		t.Error("a reader that was begun is taken for a whole one")
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	raw := ocitest.Random(4, 1000)
	n := 0
	b := oci.Observe(oci.Bytes("", raw), func(x int) { n += x })
	r, err := b.Open(t.Context())
	if err != nil || oci.Verify(r, b.Descriptor()) != r {
		t.Errorf("observed is not seen to be verified: %v", err)
	}
	if err := iotest.TestReader(r, raw); err != nil || n != 1000 {
		t.Errorf("%d bytes, %v", n, err)
	}
	n = 0
	part, err := b.(oci.RangeBlob).OpenRange(t.Context(), 990, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(part); !bytes.Equal(got, raw[990:]) || err != nil || n != 10 {
		t.Errorf("range: %d bytes, %d seen, %v", len(got), n, err)
	}
}

func TestSection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		offset, length int64
		want           string
	}{{0, -1, "hello"}, {2, -1, "llo"}, {1, 2, "el"}, {4, 9, "o"}, {9, 1, ""}, {-3, 2, "he"}, {0, 0, ""}, {1, 1<<63 - 1, "ello"}} {
		got, err := io.ReadAll(oci.Section(bytes.NewReader([]byte("hello")), 5, c.offset, c.length))
		if string(got) != c.want || err != nil {
			t.Errorf("%d, %d: %q, %v", c.offset, c.length, got, err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ulikunitz/xz"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

func packXZ(t testing.TB, text string, c xz.WriterConfig) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpackXZ(b []byte) (string, error) {
	r, _, err := layer.Decompress(iotest.HalfReader(bytes.NewReader(b)))
	if err != nil {
		return "", err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	return string(got), err
}

// TestXZ: all checksums, blocks, streams and padding, and no byte that can be
// changed or left out.
func TestXZ(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(r.IntN(256))
	}
	text := strings.Repeat("some words ", 2000) + string(noise)
	for _, c := range []xz.WriterConfig{{CheckSum: xz.CRC32}, {CheckSum: xz.CRC64}, {CheckSum: xz.SHA256}, {NoCheckSum: true}, {BlockSize: 1000}, {BlockSize: 4097, CheckSum: xz.SHA256}} {
		c.DictCap = 1 << 16
		b := packXZ(t, text, c)
		for name, whole := range map[string][]byte{"one": b, "padded": cat(b, make([]byte, 8))} {
			if got, err := unpackXZ(whole); err != nil || got != text {
				t.Errorf("%+v, %s: %d bytes, %v", c, name, len(got), err)
			}
		}
		if got, err := unpackXZ(cat(b, make([]byte, 4), b)); err != nil || got != text+text {
			t.Errorf("%+v, two streams: %d bytes, %v", c, len(got), err)
		}
		for i := 6; i < len(b); i += 1 + len(b)/97 {
			if got, err := unpackXZ(b[:i]); err == nil || !errors.Is(err, oci.ErrInvalid) {
				t.Errorf("%+v, cut at %d: %d bytes, %v", c, i, len(got), err)
			}
			bad := bytes.Clone(b)
			bad[i] ^= 0x10
			if got, err := unpackXZ(bad); err == nil && !c.NoCheckSum {
				t.Errorf("%+v, byte %d changed: %d bytes", c, i, len(got))
			}
		}
	}
	if got, err := unpackXZ(packXZ(t, "", xz.WriterConfig{})); err != nil || got != "" {
		t.Errorf("nothing: %q, %v", got, err)
	}
}

// greedy makes the block that begins at a position ask for 4 GiB.
func greedy(b []byte, at int) []byte {
	b = bytes.Clone(b)
	h := b[at : at+(int(b[at])+1)*4]
	h[bytes.Index(h, []byte{0x21, 1})+2] = 40
	binary.LittleEndian.PutUint32(h[len(h)-4:], crc32.ChecksumIEEE(h[:len(h)-4]))
	return b
}

// Neither a later block nor a later stream gets more memory than the first.
func TestBad_070_LaterBlocksOfXZ(t *testing.T) {
	t.Parallel()
	one := packXZ(t, "some words", xz.WriterConfig{DictCap: 1 << 16})
	two := packXZ(t, "some words", xz.WriterConfig{DictCap: 1 << 16, BlockSize: 5})
	header := two[12 : 12+(int(two[12])+1)*4]
	second := 12 + len(header) + bytes.Index(two[12+len(header):], []byte{0x21, 1, header[bytes.Index(header, []byte{0x21, 1})+2]})
	for two[second] == 0x21 || two[second] != header[0] {
		second--
	}
	for name, b := range map[string][]byte{"first": greedy(one, 12), "second stream": cat(one, greedy(one, 12)), "second block": greedy(two, second)} {
		_, err := unpackXZ(b)
		wantKind(t, name, err, oci.ErrInvalid)
		if err == nil || !strings.Contains(err.Error(), "more than 128 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := packXZ(t, "some words", xz.WriterConfig{DictCap: 128 << 20})
	_, err := unpackXZ(bytes.Repeat(large, 50))
	wantKind(t, "many small blocks", err, oci.ErrInvalid)
}

// FuzzXZ: what the library reads as well comes out the same.
func FuzzXZ(f *testing.F) {
	f.Add(packXZ(f, "some words", xz.WriterConfig{DictCap: 1 << 12}))
	f.Add(packXZ(f, "some words", xz.WriterConfig{DictCap: 1 << 12, BlockSize: 5, CheckSum: xz.SHA256}))
	f.Add(cat(packXZ(f, "a", xz.WriterConfig{NoCheckSum: true}), make([]byte, 4), packXZ(f, "b", xz.WriterConfig{CheckSum: xz.CRC32})))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")) {
			return
		}
		got, err := unpackXZ(b)
		if err != nil {
			return
		}
		r, err := xz.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := io.ReadAll(r); err != nil || string(want) != got {
			t.Fatalf("%q, want %q, %v", got, want, err)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// TestTOCNeedsTrust: a table is used only if a verified descriptor has its
// digest.
func TestTOCNeedsTrust(t *testing.T) {
	t.Parallel()
	other := string(oci.FromBytes([]byte("other")))
	for name, b := range tocForms(t) {
		for change, want := range map[string]error{"none": oci.ErrUnsupported, "other": oci.ErrCorrupt, "broken": oci.ErrInvalid} {
			c := b
			c.d.Annotations = map[string]string{}
			for k, v := range b.d.Annotations {
				switch {
				case change == "none":
				case change == "other" && !strings.HasSuffix(k, "position"):
					c.d.Annotations[k] = other
				case change == "broken" && !strings.HasSuffix(k, "position"):
					c.d.Annotations[k] = "sha256:../../x"
				default:
					c.d.Annotations[k] = v
				}
			}
			if _, err := layer.OpenTOC(t.Context(), c, layer.Limits{}); !errors.Is(err, want) || !layer.TOCFallback(err) {
				t.Errorf("%s, digest %s: %v", name, change, err)
			}
		}
	}
	plain := newMemLayer(plainTar(t, tocFiles()), map[string]string{estargz.TOCJSONDigestAnnotation: other})
	if _, err := layer.OpenTOC(t.Context(), plain, layer.Limits{}); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("a stale annotation: %v", err)
	}
}

// TestTOCChunksAreVerified changes each byte of some of the layer: no wrong
// content is ever handed out whole.
func TestTOCChunksAreVerified(t *testing.T) {
	t.Parallel()
	for name, b := range tocForms(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			toc, err := layer.OpenTOC(t.Context(), b, layer.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			caught := 0
			for at := 0; at < len(b.raw); at += 1 + len(b.raw)/60 {
				b.raw[at] ^= 0x55
				for i, want := range map[int][]byte{1: []byte("hello\n"), 2: tocFiles()[2].body} {
					rc, err := toc.Open(t.Context(), i)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(rc)
					rc.Close()
					if err == nil && !bytes.Equal(got, want) {
						t.Fatalf("byte %d changed: wrong content", at)
					}
					if err != nil {
						caught++
						if !errors.Is(err, oci.ErrCorrupt) && !errors.Is(err, oci.ErrInvalid) {
							t.Errorf("byte %d changed: %v", at, err)
						}
					}
				}
				b.raw[at] ^= 0x55
			}
			if caught == 0 {
				t.Error("no change mattered")
			}
		})
	}
}

// TestTOCHostile: tables that are vouched for and yet wrong.
func TestTOCHostile(t *testing.T) {
	t.Parallel()
	dig := string(oci.FromBytes([]byte("hello\n")))
	reg := func(more string) string {
		return `{"version":1,"entries":[{"type":"reg","name":"a","size":6,"digest":"` + dig + `",` + more + `}]}`
	}
	list := func(entries string) string { return `{"version":1,"entries":[` + entries + `]}` }
	for _, c := range []struct {
		name, table string
		want        error
	}{
		{"empty", ``, oci.ErrInvalid},
		{"not JSON", `{"version":1,`, oci.ErrInvalid},
		{"array", `[]`, oci.ErrInvalid},
		{"followed", reg(`"offset":1`) + `{}`, oci.ErrInvalid},
		{"no entries", `{"version":1}`, oci.ErrInvalid},
		{"no version", `{"entries":[]}`, oci.ErrInvalid},
		{"version", `{"version":2,"entries":[]}`, oci.ErrUnsupported},
		{"twice", `{"version":1,"entries":[],"entries":[]}`, oci.ErrInvalid},
		{"key twice", list(`{"type":"dir","name":"a","name":"b"}`), oci.ErrInvalid},
		{"key in capitals", list(`{"type":"dir","name":"a","Name":"b"}`), oci.ErrInvalid},
		{"key escaped", list(`{"type":"dir","n\u0061me":"b"}`), oci.ErrInvalid},
		{"entry is a list", list(`[]`), oci.ErrInvalid},
		{"climbs", list(`{"type":"dir","name":"../a"}`), oci.ErrInvalid},
		{"NUL", list(`{"type":"dir","name":"a\u0000"}`), oci.ErrInvalid},
		{"link climbs", list(`{"type":"hardlink","name":"a","linkName":"../../b"}`), oci.ErrInvalid},
		{"root is a file", list(`{"type":"reg","name":"."}`), oci.ErrInvalid},
		{"type", list(`{"type":"socket","name":"a"}`), oci.ErrUnsupported},
		{"not UTF-8", list("{\"type\":\"dir\",\"name\":\"a\xff\"}"), oci.ErrUnsupported},
		{"time", list(`{"type":"dir","name":"a","modtime":"now"}`), oci.ErrInvalid},
		{"no digest", list(`{"type":"reg","name":"a","size":6,"offset":1}`), oci.ErrUnsupported},
		{"bad digest", list(`{"type":"reg","name":"a","size":6,"offset":1,"digest":"md5:00"}`), oci.ErrInvalid},
		{"negative size", list(`{"type":"reg","name":"a","size":-6,"offset":1,"digest":"` + dig + `"}`), oci.ErrInvalid},
		{"huge", list(`{"type":"reg","name":"a","size":9000000000000000000,"offset":1,"digest":"` + dig + `"}`), oci.ErrInvalid},
		{"negative offset", reg(`"offset":-1`), oci.ErrInvalid},
		{"offset behind the table", reg(`"offset":100000`), oci.ErrInvalid},
		{"skip", reg(`"offset":1,"innerOffset":-1`), oci.ErrInvalid},
		{"chunk too long", reg(`"offset":1,"chunkSize":7`), oci.ErrInvalid},
		{"chunk negative", reg(`"offset":1,"chunkSize":-1`), oci.ErrInvalid},
		{"chunk missing", reg(`"offset":1,"chunkSize":5`), oci.ErrInvalid},
		{"chunk not first", reg(`"offset":1,"chunkOffset":1`), oci.ErrInvalid},
		{"chunk of nothing", list(`{"type":"chunk","name":"a"}`), oci.ErrInvalid},
		{"chunk of a directory", list(`{"type":"dir","name":"a"},{"type":"chunk","name":"a"}`), oci.ErrInvalid},
		{"chunk overlaps", list(`{"type":"reg","name":"a","size":6,"digest":"` + dig + `","offset":1,"chunkSize":3},{"type":"chunk","chunkOffset":2,"offset":1}`), oci.ErrInvalid},
		{"one chunk more", list(`{"type":"reg","name":"a","size":6,"digest":"` + dig + `","offset":1},{"type":"chunk","chunkOffset":6,"offset":1}`), oci.ErrInvalid},
		{"deep", strings.Repeat("[", 100_000), oci.ErrInvalid},
	} {
		if _, err := layer.OpenTOC(t.Context(), withTable(make([]byte, 100), []byte(c.table)), layer.Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	many := list(strings.Repeat(`{"type":"dir","name":"a"},`, 100) + `{"type":"dir","name":"a"}`)
	if _, err := layer.OpenTOC(t.Context(), withTable(nil, []byte(many)), layer.Limits{Entries: 10}); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("many: %v", err)
	}
}

// TestTOCPosition: a place in annotations that is not one.
func TestTOCPosition(t *testing.T) {
	t.Parallel()
	const key = "io.github.containers.zstd-chunked.manifest-position"
	for at, want := range map[string]error{"": oci.ErrInvalid, "1:2:3": oci.ErrInvalid, "1:2:3:1:5": oci.ErrInvalid, "-1:2:3:1": oci.ErrInvalid,
		"0:0:0:1": oci.ErrInvalid, "1:99999999:3:1": oci.ErrInvalid, "99999999:1:3:1": oci.ErrInvalid, "1:9223372036854775807:3:1": oci.ErrUnsupported,
		"9223372036854775807:1:3:1": oci.ErrInvalid, "1:2:9223372036854775807:1": oci.ErrUnsupported, "1:2:3:2": oci.ErrUnsupported, "1:2:3:1": oci.ErrCorrupt} {
		b := chunked(t, tocFiles(), 1<<30)
		b.d.Annotations[key] = at
		if _, err := layer.OpenTOC(t.Context(), b, layer.Limits{}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", at, err, want)
		}
	}
	b := chunked(t, tocFiles(), 1<<30)
	old := map[string]string{}
	for k, v := range b.d.Annotations { // the names of before 2023
		old[strings.Replace(k, "io.github.", "io.", 1)] = v
	}
	b.d.Annotations = old
	if _, err := layer.OpenTOC(t.Context(), b, layer.Limits{}); err != nil {
		t.Error(err)
	}
}

// failing fails reads of ranges as a network does.
type failing struct {
	memLayer
	after int
}

func (f *failing) OpenRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if f.after--; f.after < 0 {
		return nil, oci.Errorf(oci.ErrBusy, "out of reach")
	}
	rc, err := f.memLayer.OpenRange(ctx, offset, length)
	if f.after > 0 || err != nil {
		return rc, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(rc, length/2), errorReader{oci.Errorf(oci.ErrBusy, "cut")}), rc}, nil
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

// TestTOCSourceFails: a source that fails is not taken for a broken table.
func TestTOCSourceFails(t *testing.T) {
	t.Parallel()
	for name, b := range tocForms(t) {
		for after := range 3 {
			f := &failing{b, after}
			toc, err := layer.OpenTOC(t.Context(), f, layer.Limits{})
			if err == nil {
				var rc io.ReadCloser
				if rc, err = toc.Open(t.Context(), 2); err == nil {
					_, err = io.Copy(io.Discard, rc)
					rc.Close()
				}
			}
			if !errors.Is(err, oci.ErrBusy) || layer.TOCFallback(err) {
				t.Errorf("%s, after %d: %v", name, after, err)
			}
		}
	}
}

// TestBad_070_TableBomb: a table that unpacks to far more than it says, or is
// one value without an end, costs no memory.
func TestBad_070_TableBomb(t *testing.T) {
	t.Parallel()
	const key = "io.github.containers.zstd-chunked.manifest-position"
	huge := append([]byte(`{"version":1,"entries":[{"type":"dir","name":"`), bytes.Repeat([]byte("a"), 8<<20)...)
	huge = append(huge, `"}]}`...)
	b := withTable(nil, huge)
	if _, err := layer.OpenTOC(t.Context(), b, layer.Limits{}); !errors.Is(err, oci.ErrUnsupported) {
		t.Errorf("an endless entry: %v", err)
	}
	spaces := withTable(nil, append([]byte(`{"version":1,"entries":[]}`), bytes.Repeat([]byte(" "), 8<<20)...))
	fields := strings.Split(spaces.d.Annotations[key], ":")
	spaces.d.Annotations[key] = fields[0] + ":" + fields[1] + ":26:1"
	if _, err := layer.OpenTOC(t.Context(), spaces, layer.Limits{}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("more than it says: %v", err)
	}
}

// TestBad_070_ChunkBomb: of a chunk that unpacks to more than it says, no more
// than that is read.
func TestBad_070_ChunkBomb(t *testing.T) {
	t.Parallel()
	frames := encoder().EncodeAll(make([]byte, 8<<20), nil)
	table := fmt.Sprintf(`{"version":1,"entries":[{"type":"reg","name":"a","size":10,"digest":%q}]}`, oci.FromBytes(make([]byte, 10)))
	toc, err := layer.OpenTOC(t.Context(), withTable(frames, []byte(table)), layer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	compareContent(t, toc, 0, "a", make([]byte, 10))
	table = strings.Replace(table, `"size":10`, `"size":60000000`, 1)
	if _, err := layer.OpenTOC(t.Context(), withTable(frames, []byte(table)), layer.Limits{Bytes: 1 << 20}); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("more than the limit: %v", err)
	}
}

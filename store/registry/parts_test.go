// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/registry"
)

const (
	partsSize  = 1_000_000
	partsLeast = 100_000
	partsLead  = 64_000
	partsProbe = 32_000
	partsChunk = 50_000
)

// sliced is a registry whose large blobs are read in parts.
type sliced struct {
	*rig
	b     oci.Blob
	repo  *registry.Repo
	taken func() int // buffers, and downloads that may take some
}

func newSliced(t *testing.T, slow bool, buffers int, o serve.Options) *sliced {
	t.Helper()
	s := &sliced{rig: newRig(t, o), b: layer(1, partsSize)}
	s.name("layer", s.b.Descriptor().Digest)
	s.push("a", ocitest.Fixture{Blobs: []oci.Blob{s.b}})
	c := s.client()
	s.taken = c.SetParts(partsLeast, partsLead, partsProbe, buffers, partsChunk, slow)
	s.repo = repo(t, c, "a")
	t.Cleanup(func() {
		if n := s.taken(); n != 0 {
			t.Errorf("%d buffers and downloads are left", n)
		}
	})
	return s
}

// ranges are the requests for the blob, as its offsets.
func (s *sliced) ranges() (list [][2]int64) {
	for _, q := range s.requests() {
		var first, last int64
		if _, err := fmt.Sscanf(q, "GET a/blobs/layer bytes=%d-%d", &first, &last); err == nil {
			list = append(list, [2]int64{first, last + 1})
		}
	}
	return list
}

// later matches the requests for chunks beyond the first stream.
func later(r *http.Request) bool {
	v := r.Header.Get("Range")
	return v != "" && !strings.HasPrefix(v, "bytes=0-")
}

func TestParts(t *testing.T) {
	t.Parallel()
	for _, buffers := range []int{0, 1, 2, 3, 4, 12, 100} {
		t.Run(fmt.Sprint(buffers), func(t *testing.T) {
			t.Parallel()
			s := newSliced(t, true, buffers, serve.Options{})
			var now, most atomic.Int64
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				for n := now.Add(1); n > most.Load() && !most.CompareAndSwap(most.Load(), n); {
				}
				defer now.Add(-1)
				s.handler.ServeHTTP(w, r)
				return true
			})
			wantBytes(t, s.repo, s.b)
			// The handler of a chunk may still return when all of it is here.
			if n := most.Load(); n > 2*int64(buffers)+2 {
				t.Errorf("%d requests at a time", n)
			}
			var bytes int64
			for _, r := range s.ranges() {
				bytes += r[1] - r[0]
			}
			if bytes < partsSize || bytes > 2*partsSize { // streams may be cut short
				t.Errorf("asked for %d of %d bytes: %q", bytes, partsSize, s.requests())
			}
			if buffers > 1 && len(s.ranges()) < 3 {
				t.Errorf("requests: %q", s.requests())
			}
		})
	}
}

// A host that is fast is asked for all of the rest, and from then on for the
// blob without further ado.
func TestPartsOfAFastHost(t *testing.T) {
	t.Parallel()
	s := newSliced(t, false, 4, serve.Options{})
	wantBytes(t, s.repo, s.b)
	s.want("GET a/blobs/layer bytes=0-63999", "GET a/blobs/layer bytes=64000-999999")
	wantBytes(t, s.repo, s.b)
	s.want("GET a/blobs/layer")
	small := layer(2, partsLeast-1)
	s.name("small", small.Descriptor().Digest)
	s.push("a", ocitest.Fixture{Blobs: []oci.Blob{small}})
	wantBytes(t, s.repo, small)
	s.want("GET a/blobs/small")
}

func TestPartsOfAHostWithoutRanges(t *testing.T) {
	t.Parallel()
	s := newSliced(t, true, 4, serve.Options{Quirks: serve.Quirks{NoRange: true}})
	_, err := s.repo.OpenRange(t.Context(), s.b.Descriptor(), 1, -1)
	wantErr(t, err, oci.ErrUnsupported)
	s = newSliced(t, true, 4, serve.Options{Quirks: serve.Quirks{NoRange: true}})
	wantBytes(t, s.repo, s.b)
	s.want("GET a/blobs/layer bytes=0-63999")
	wantBytes(t, s.repo, s.b)
	s.want("GET a/blobs/layer")
}

// The host sends parts at first, and then only the whole.
func TestPartsThatEnd(t *testing.T) {
	t.Parallel()
	s := newSliced(t, true, 4, serve.Options{})
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if later(r) && !strings.HasPrefix(r.Header.Get("Range"), "bytes=1") {
			r.Header.Del("Range")
		}
		return false
	})
	wantBytes(t, s.repo, s.b)
	s.forget()
	wantBytes(t, s.repo, s.b)
	s.want("GET a/blobs/layer")
}

func TestPartsFromTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSliced(t, true, 4, serve.Options{})
	raw := contents(t, s.b)
	for _, c := range [][2]int64{{0, -1}, {1, -1}, {123_456, -1}, {300_000, 500_000}, {0, 999_999}, {899_999, 100_001}, {950_000, -1}} {
		rc, err := s.repo.OpenRange(t.Context(), s.b.Descriptor(), c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		want := raw[c[0]:]
		if c[1] >= 0 {
			want = want[:c[1]]
		}
		got, err := io.ReadAll(rc)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, want %d: %v", c, len(got), len(want), err)
		}
		rc.Close()
	}
}

// Each chunk goes on where its connection broke off.
func TestBad_038_PartsThatBreakOff(t *testing.T) {
	t.Parallel()
	s := newSliced(t, true, 4, serve.Options{})
	raw := contents(t, s.b)
	var n atomic.Int64
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		var first, last int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil || n.Add(1)%2 == 0 {
			return false
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize))
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		w.WriteHeader(206)
		_, _ = w.Write(raw[first : (first+last)/2])
		cut(w, r)
		return true
	})
	wantBytes(t, s.repo, s.b)
}

func TestBad_039_PartsThatLie(t *testing.T) {
	t.Parallel()
	send := func(w http.ResponseWriter, contentRange string, body []byte) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(206)
		for len(body) > 0 { // without a length
			n := min(len(body), 10_000)
			_, _ = w.Write(body[:n])
			w.(http.Flusher).Flush()
			body = body[n:]
		}
	}
	for name, c := range map[string]struct {
		want error // nil: the bytes come all the same
		lie  func(w http.ResponseWriter, raw []byte, first, last int)
	}{
		"wrong start": {nil, func(w http.ResponseWriter, raw []byte, first, last int) {
			send(w, fmt.Sprintf("bytes %d-%d/%d", first+1, last, partsSize), raw[first+1:last+1])
		}},
		"wrong total": {nil, func(w http.ResponseWriter, raw []byte, first, last int) {
			send(w, fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize+1), raw[first:last+1])
		}},
		"no range": {nil, func(w http.ResponseWriter, raw []byte, first, last int) { send(w, "", raw[first:last+1]) }},
		"shorter": {nil, func(w http.ResponseWriter, raw []byte, first, last int) {
			last = min(last, first+20_000)
			send(w, fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize), raw[first:last+1])
		}},
		"longer": {nil, func(w http.ResponseWriter, raw []byte, first, last int) {
			send(w, fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize), raw[first:])
		}},
		"wrong bytes": {oci.ErrCorrupt, func(w http.ResponseWriter, raw []byte, first, last int) {
			send(w, fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize), raw[:last+1-first])
		}},
		"fewer bytes": {oci.ErrCorrupt, func(w http.ResponseWriter, raw []byte, first, last int) {
			send(w, fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize), raw[first:first+1])
		}},
		"beyond end":   {nil, func(w http.ResponseWriter, _ []byte, _, _ int) { fails(416, "RANGE_INVALID")(w, nil) }},
		"gone":         {oci.ErrNotFound, func(w http.ResponseWriter, _ []byte, _, _ int) { fails(404, "BLOB_UNKNOWN")(w, nil) }},
		"forbidden":    {nil, func(w http.ResponseWriter, _ []byte, _, _ int) { fails(403, "DENIED")(w, nil) }},
		"out of order": {oci.ErrBusy, func(w http.ResponseWriter, _ []byte, _, _ int) { fails(500, "UNKNOWN")(w, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSliced(t, true, 4, serve.Options{})
			raw := contents(t, s.b)
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				var first, last int
				if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil || first == 0 || last-first > partsChunk {
					return false
				}
				c.lie(w, raw, first, last)
				return true
			})
			got, err := read(t.Context(), s.repo, s.b.Descriptor())
			if c.want != nil {
				wantErr(t, err, c.want)
			} else if err != nil || len(got) != partsSize {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if !bytes.HasPrefix(raw, got) && name != "wrong bytes" {
				t.Error("bytes are out of place")
			}
		})
	}
}

// Close and the end of the context end all requests, and are not waited for.
func TestPartsThatAreNotWanted(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "cancel"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newSliced(t, true, 4, serve.Options{})
			began, ended := make(chan bool, 100), make(chan bool, 100)
			s.on(func(w http.ResponseWriter, r *http.Request) bool {
				if !later(r) {
					return false
				}
				began <- true
				<-r.Context().Done()
				ended <- true
				return true
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			rc, err := s.repo.Open(ctx, s.b.Descriptor())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, rc, partsProbe); err != nil {
				t.Error(err)
			}
			<-began
			<-began
			if how == "cancel" {
				cancel()
				if _, err := io.Copy(io.Discard, rc); !errors.Is(err, context.Canceled) {
					t.Errorf("read: %v", err)
				}
			}
			rc.Close()
			<-ended
			<-ended
			if n := s.taken(); n != 0 {
				t.Errorf("%d buffers and downloads are left", n)
			}
			if _, err := rc.Read(make([]byte, 1)); err == nil {
				t.Error("read after the end")
			}
		})
	}
}

// Who holds memory and does not read cannot hold up others.
func TestPartsWithoutMemory(t *testing.T) {
	t.Parallel()
	s := newSliced(t, true, 2, serve.Options{})
	idle, err := s.repo.Open(t.Context(), s.b.Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, idle, partsProbe); err != nil {
		t.Error(err)
	}
	wantBytes(t, s.repo, s.b)
	if _, err := io.Copy(io.Discard, idle); err != nil {
		t.Error(err)
	}
	idle.Close()
}

func TestPartsAreShared(t *testing.T) {
	t.Parallel()
	take, give := registry.Shares(8, 2)
	for i := range 5 {
		if got := take[0](); got != (i < 4) {
			t.Errorf("first, buffer %d: %v", i, got)
		}
	}
	for i := range 5 {
		if got := take[1](); got != (i < 4) {
			t.Errorf("second, buffer %d: %v", i, got)
		}
	}
	give[0]()
	if take[1]() || !take[0]() {
		t.Error("a share is not fair")
	}
}

func TestPartsAdapt(t *testing.T) {
	t.Parallel()
	for chunks, want := range map[string]string{
		"wwww":             "[4 8 12 12]",
		"rrrrr":            "[2 2 1 1 0]",
		"wrrrrwrrrrrrrrrr": "[4 4 4 4 4 8 8 8 8 8 8 8 8 8 4 4]",
		"rrrrrw":           "[2 2 1 1 0 2]",
	} {
		if got := fmt.Sprint(registry.Windows(12, chunks)); got != want {
			t.Errorf("%s: %s, want %s", chunks, got, want)
		}
	}
}

func TestPartsUploaded(t *testing.T) {
	t.Parallel()
	s, to := newSliced(t, true, 4, serve.Options{}), newRig(t, serve.Options{})
	to.once(is("PUT", "/uploads/"), to.takes(300_000, nil))
	wantPut(t, to.repo("b"), oci.From(s.repo, s.b.Descriptor()), oci.Sent)
	wantBytes(t, to.stored("b"), s.b)
}

func TestSlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mib            int64
		waited, passed time.Duration
		want           bool
	}{
		{4, 100 * time.Millisecond, 110 * time.Millisecond, true}, // 40 MiB/s
		{4, 10 * time.Millisecond, 11 * time.Millisecond, false},  // 400 MiB/s
		{4, 100 * time.Millisecond, 210 * time.Millisecond, false},
		{32, 0, time.Second, false},
		{32, 0, 0, false},
	} {
		if got := registry.Slow(c.mib<<20, c.waited, c.passed); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

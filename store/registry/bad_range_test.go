// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// An oddity is how a registry answers Range where a GET without is fine.
type oddity struct {
	from   int64                                      // it begins at offsets from this on
	answer func(raw []byte, first, last int) answered // the bytes first to last were asked for
}

type answered struct {
	status int
	span   string // Content-Range
	body   []byte
}

var oddities = map[string]oddity{
	"nocr":     {0, func(raw []byte, a, b int) answered { return answered{206, "", raw[a : b+1]} }},
	"206extra": {0, func(raw []byte, a, _ int) answered { return answered{206, span(a, partsSize-1), raw[a:]} }},
	"206full":  {0, func(raw []byte, _, _ int) answered { return answered{206, span(0, partsSize-1), raw} }},
	"all400":   {0, func([]byte, int, int) answered { return answered{status: 400} }},
	"all403":   {0, func([]byte, int, int) answered { return answered{status: 403} }},
	"all405":   {0, func([]byte, int, int) answered { return answered{status: 405} }},
	"all416":   {0, func([]byte, int, int) answered { return answered{status: 416} }},
	"wrongcr":  {1, func(raw []byte, a, b int) answered { return answered{206, span(a+1, b+1), raw[a : b+1]} }},
	"multi":    {1, func(raw []byte, a, b int) answered { return answered{206, span(0, 5), raw[a : b+1]} }},
	"mid206":   {1, func(raw []byte, a, _ int) answered { return answered{206, span(a, partsSize-1), raw[a:]} }},
	"mid403":   {1, func([]byte, int, int) answered { return answered{status: 403} }},
}

func span(first, last int) string { return fmt.Sprintf("bytes %d-%d/%d", first, last, partsSize) }

// behave makes the registry answer so, and lets before see the requests for
// the blob first.
func (s *sliced) behave(o oddity, before func(w http.ResponseWriter, r *http.Request) bool) {
	raw := contents(s.t, s.b)
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		if before != nil && before(w, r) {
			return true
		}
		var first, last int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil || int64(first) < o.from {
			return false
		}
		a := o.answer(raw, first, last)
		if a.span != "" {
			w.Header().Set("Content-Range", a.span)
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body)
		return true
	})
}

// Large blobs come from any registry that sends them without Range, also if it
// is slow and chunks beside the stream have been asked for already.
func TestBad_039_OddRanges(t *testing.T) {
	t.Parallel()
	for name, o := range oddities {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/slow=%v", name, slow), func(t *testing.T) {
				t.Parallel()
				s := newSliced(t, slow, 4, serve.Options{})
				s.behave(o, nil)
				wantBytes(t, s.repo, s.b)
				switch {
				case o.from == 0:
					s.want("GET a/blobs/layer bytes=0-63999", "GET a/blobs/layer")
				case !slow && name != "mid206":
					s.want("GET a/blobs/layer bytes=0-63999", "GET a/blobs/layer bytes=64000-999999", "GET a/blobs/layer")
				}
				s.forget()
				wantBytes(t, s.repo, s.b) // the host is known now
				if slow || name != "mid206" {
					s.want("GET a/blobs/layer")
				}
			})
		}
	}
}

// The same, and every answer without Range breaks off at first: before the
// offset that is to be reached, and after it.
func TestBad_039_OddRangesThatBreakOff(t *testing.T) {
	t.Parallel()
	for name, o := range oddities {
		for _, at := range []int{0, 10_000, 500_000} {
			t.Run(fmt.Sprintf("%s/%d", name, at), func(t *testing.T) {
				t.Parallel()
				s := newSliced(t, true, 4, serve.Options{})
				raw := contents(t, s.b)
				var whole atomic.Int64
				s.behave(o, func(w http.ResponseWriter, r *http.Request) bool {
					if r.Header.Get("Range") == "" && whole.Add(1) <= 3 {
						cutAt(raw, at)(w, r)
					}
					return false
				})
				wantBytes(t, s.repo, s.b)
			})
		}
	}
}

// What is sent without Range is checked as ever, and its error is the one that
// the user sees.
func TestBad_039_OddRangesOfBadBlobs(t *testing.T) {
	t.Parallel()
	b := layer(1, partsSize)
	wrong := slices.Clone(contents(t, b))
	wrong[partsSize/2] ^= 1
	for name, c := range map[string]struct {
		whole http.HandlerFunc
		want  error
	}{
		"flipped bit":  {sized(wrong), oci.ErrCorrupt},
		"short":        {sized(wrong[:partsSize-1]), oci.ErrCorrupt},
		"long":         {sized(append(wrong[:partsSize:partsSize], 0)), oci.ErrCorrupt},
		"forbidden":    {fails(403, "DENIED"), oci.ErrDenied},
		"gone":         {fails(404, "BLOB_UNKNOWN"), oci.ErrNotFound},
		"unauthorized": {fails(401, "UNAUTHORIZED"), oci.ErrUnauthorized},
		"bad":          {fails(400, "UNKNOWN"), oci.ErrInvalid},
	} {
		for _, odd := range []string{"nocr", "all403", "all416", "wrongcr", "mid403"} {
			t.Run(name+"/"+odd, func(t *testing.T) {
				t.Parallel()
				s := newSliced(t, true, 4, serve.Options{})
				s.behave(oddities[odd], func(w http.ResponseWriter, r *http.Request) bool {
					if r.Header.Get("Range") == "" {
						c.whole(w, r)
					}
					return r.Header.Get("Range") == ""
				})
				got, err := read(t.Context(), s.repo, b.Descriptor())
				wantErr(t, err, c.want)
				if len(got) >= partsSize {
					t.Errorf("%d bytes were handed out", len(got))
				}
			})
		}
	}
}

// What means the blob and not the Range is not asked for again, and a host
// that refuses a blob altogether may still send parts of others.
func TestBad_039_RefusalsThatAreNotOfRanges(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{404: oci.ErrNotFound, 410: oci.ErrNotFound, 429: oci.ErrBusy, 503: oci.ErrBusy} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newSliced(t, true, 4, serve.Options{})
			s.on(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
			_, err := read(t.Context(), s.repo, s.b.Descriptor())
			wantErr(t, err, want)
			if i := slices.IndexFunc(s.requests(), func(q string) bool { return !strings.Contains(q, "bytes=") }); i >= 0 {
				t.Errorf("requests: %q", s.requests())
			}
		})
	}
	s := newSliced(t, true, 4, serve.Options{})
	s.on(func(w http.ResponseWriter, r *http.Request) bool { fails(403, "DENIED")(w, r); return true })
	_, err := read(t.Context(), s.repo, s.b.Descriptor())
	wantErr(t, err, oci.ErrDenied)
	s.on(nil)
	s.forget()
	wantBytes(t, s.repo, s.b)
	if len(s.ranges()) < 3 {
		t.Errorf("requests: %q", s.requests())
	}
}

// A part alone is refused, in the way that says whether all would be sent:
// callers throw away what they have of a blob only if so.
func TestBad_039_OddRangesOfParts(t *testing.T) {
	t.Parallel()
	small := layer(2, 1000)
	for _, status := range []int{400, 403, 405, 416} {
		for whole, want := range map[string]error{"": oci.ErrUnsupported, "DENIED": oci.ErrDenied} {
			t.Run(fmt.Sprintf("%d%s", status, whole), func(t *testing.T) {
				t.Parallel()
				s := newSliced(t, true, 4, serve.Options{})
				s.push("a", ocitest.Fixture{Blobs: []oci.Blob{small}})
				s.on(func(w http.ResponseWriter, r *http.Request) bool {
					switch {
					case r.Header.Get("Range") != "":
						w.WriteHeader(status)
					case whole != "":
						fails(403, whole)(w, r)
					default:
						return false
					}
					return true
				})
				for _, b := range []oci.Blob{small, s.b} {
					rc, err := s.repo.OpenRange(t.Context(), b.Descriptor(), 10, -1)
					if err == nil {
						rc.Close()
					}
					wantErr(t, err, want)
				}
			})
		}
	}
	s := newSliced(t, true, 4, serve.Options{}) // refused after it has begun
	s.behave(oddities["mid403"], nil)
	rc, err := s.repo.OpenRange(t.Context(), s.b.Descriptor(), 0, 900_000)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, contents(t, s.b)[:900_000]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/store/registry"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"", "bytes 0-0/1", "bytes 5-9/10", "bytes 0-9/*", "bytes */10", "bytes 9-5/10", "bytes 0-10/10", "bytes -1-5/10",
		"bytes 0-18446744073709551615/*", "bytes +0-1/2", "lines 0-1/2", "bytes 0-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, size, ok := registry.ContentRange(s)
		if ok && (first < 0 || last < first || size >= 0 && last >= size || size < -1) {
			t.Errorf("%q: %d-%d/%d", s, first, last, size)
		}
	})
}

func FuzzUploadRange(f *testing.F) {
	for _, s := range []string{"", "0-0", "0-9", "bytes=0-9", "1-9", "0--1", "0-9223372036854775807", "0-99999999999999999999", "-", "0-1-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := registry.RangeEnd(s); n < 0 || err != nil && n != 0 || n == 1 {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	})
}

func FuzzLink(f *testing.F) {
	for _, s := range []string{"", `</v2/a/tags/list?last=b&n=2>; rel="next"`, `<?last=b>;rel=next`, `</x>; rel="prev", <?n=1>; rel="next last"`,
		`<?a>; title="x\", <y>; rel=next"; rel=next`, `<`, `<>`, `<>;;;rel`, `<?n=1>; rel="next`, `<//x>; rel=next`, `<?%zz>; rel=next`, `<?a>; rel=prev; rel=next`} {
		f.Add(s)
	}
	here, err := url.Parse("http://h:1/v2/a/tags/list?n=1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := registry.NextPage(&http.Response{Header: http.Header{"Link": {s}}, Request: &http.Request{URL: here}})
		if err != nil && q != nil {
			t.Errorf("%q: %v and %v", s, q, err)
		}
		if q != nil && !strings.Contains(strings.ToLower(s), "next") {
			t.Errorf("%q has a next page", s)
		}
	})
}

func TestLinks(t *testing.T) {
	t.Parallel()
	here, err := url.Parse("http://h:1/v2/a/tags/list?n=1")
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]string{
		``:                                   "",
		`</v2/a/tags/list?last=b>; rel=next`: "last=b", `<?last=b&n=2> ; REL = "NEXT"`: "last=b&n=2", `<http://h:1/v2/a/tags/list?x=1>;rel="next"`: "x=1",
		`<?a=1>; rel="prev", <?a=2>; rel="next"`: "a=2", `<?a=1>; rel="last next"`: "a=1", `<?a=1>; title="x, <?a=3>; rel=next", <?a=2>; rel=next`: "a=2",
		`<?a=1>; rel=nextish`: "", `<?a=1>; title="rel=next"`: "", `<?a=1>; rel=prev; rel=next`: "", `<?a=1>`: "",
	} {
		q, err := registry.NextPage(&http.Response{Header: http.Header{"Link": {s}}, Request: &http.Request{URL: here}})
		if err != nil || q.Encode() != want {
			t.Errorf("%s: got %q, %v, want %q", s, q.Encode(), err, want)
		}
	}
}

func FuzzSession(f *testing.F) {
	f.Add([]byte(`{"location":"http://h/x","began":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte("{"))
	f.Add([]byte(`{"location":":","began":"9999-12-31T23:59:59Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if u, ok := registry.ReadSession(path); ok && !u.IsAbs() {
			t.Errorf("%q: %v", raw, u)
		}
	})
}

// A raw registry answers every connection with the same bytes.
type raw struct {
	mu     sync.Mutex
	answer []byte
	l      net.Listener
}

func newRaw(t testing.TB) *raw {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{l: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, req.Body, 1<<20)
				r.mu.Lock()
				answer := r.answer
				r.mu.Unlock()
				_, _ = c.Write(answer)
			}()
		}
	}()
	return r
}

// Whatever a registry says over HTTP, every operation ends, in bounded memory,
// without a panic, and what is handed out is right.
func FuzzResponse(f *testing.F) {
	image := ocitest.Image(1, 1, 10)
	blob := layer(1, 20)
	rc, err := blob.Open(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	content, err := io.ReadAll(rc)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + string(content),
		"HTTP/1.1 200 OK\r\nContent-Type: " + oci.MediaManifest + "\r\nContent-Length: 9999999999999\r\n\r\n" + plain,
		"HTTP/1.1 200 OK\r\nContent-Type: " + oci.MediaIndex + "\r\nDocker-Content-Digest: " + string(image.Root.Digest) + "\r\nContent-Length: 12\r\n\r\n{\"tags\":[1]}",
		"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-19/20\r\n\r\n" + string(content[5:]),
		"HTTP/1.1 201 Created\r\nLocation: /x\r\n\r\n", "HTTP/1.1 202 Accepted\r\nLocation: /x\r\nRange: 0-5\r\nOCI-Chunk-Min-Length: 99999999999\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: /v2/\r\n\r\n", "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/\"\r\n\r\n",
		"HTTP/1.1 413 Large\r\n\r\n", "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\n\r\n{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLink: <?n=1>; rel=next\r\n\r\n{}",
	} {
		f.Add([]byte(s))
	}
	r := newRaw(f)
	f.Fuzz(func(t *testing.T, answer []byte) {
		r.mu.Lock()
		r.answer = answer
		r.mu.Unlock()
		client := transport.New(transport.Options{Attempts: 1, ConnectTimeout: time.Second, HeaderTimeout: time.Second, StallTimeout: time.Second, MaxWait: time.Millisecond})
		defer client.Close()
		g := registry.New(transport.Endpoint{Host: r.l.Addr().String(), PlainHTTP: true}, registry.Options{Client: client})
		g.SetBackoff(time.Microsecond)
		a, err := g.Repo("a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, _ = a.Resolve(ctx, "v1")
		if d, err := a.Resolve(ctx, string(image.Root.Digest)); err == nil && d.Digest != image.Root.Digest {
			t.Errorf("resolved %s", d.Digest)
		}
		for _, d := range []oci.Descriptor{blob.Descriptor(), image.Root} {
			if got, err := read(ctx, a, d); err == nil && oci.FromBytes(got) != d.Digest {
				t.Errorf("wrong bytes for %s", d.Digest)
			}
		}
		if rc, err := a.OpenRange(ctx, blob.Descriptor(), 5, 10); err == nil {
			if got, err := io.ReadAll(rc); err == nil && len(got) != 10 {
				t.Errorf("a part of %d bytes", len(got))
			}
			rc.Close()
		}
		_, _ = collect(a.Tags(ctx))
		_, _ = collect(a.Referrers(ctx, image.Root, ""))
		_, _ = a.Put(ctx, blob, "b")
		_ = a.Tag(ctx, "v1", image.Root)
		if ctx.Err() != nil {
			t.Error("it did not end")
		}
	})
}

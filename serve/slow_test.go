// SPDX-License-Identifier: Apache-2.0

package serve_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/oci/ocitest"
	"github.com/dray-tools/dray/serve"
)

// dialed is a connection to a server that waits for clients for 100 ms.
func dialed(t *testing.T, r *registry) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&serve.Server{Handler: r, Grace: time.Millisecond}).Serve(ctx, l) }()
	t.Cleanup(func() { stop(); <-ended })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// A body that the handler does not want must not be waited for without end,
// whoever sends it.
func TestBad_109_BodiesThatNeverCome(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"GET /v2/", "POST /v2/a/blobs/uploads/", "DELETE /v2/a/manifests/x", "PUT /nothing"} {
		conn := dialed(t, newRegistry(t, serve.Options{Limits: serve.Limits{Stall: 100 * time.Millisecond}}))
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", line)
		if _, err := io.ReadAll(conn); err != nil { // answered or not, the connection ends
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A connection outlives the deadlines of its requests.
func TestSlowConnectionGoesOn(t *testing.T) {
	t.Parallel()
	conn := dialed(t, newRegistry(t, serve.Options{Limits: serve.Limits{Stall: 100 * time.Millisecond}}))
	in := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprint(conn, "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
		if s, err := in.ReadString('\n'); err != nil || !strings.Contains(s, "202") {
			t.Fatal(s, err)
		}
		for s := ""; s != "\r\n"; s, _ = in.ReadString('\n') {
			continue
		}
		time.Sleep(150 * time.Millisecond)
	}
}

// patientWriter notes how much is written under one deadline.
type patientWriter struct {
	*httptest.ResponseRecorder
	limited bool
	most    int
}

func (w *patientWriter) SetWriteDeadline(at time.Time) error {
	w.limited = !at.IsZero()
	return nil
}

func (w *patientWriter) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	if !w.limited {
		w.most = math.MaxInt
	}
	w.limited = false
	return w.ResponseRecorder.Write(p)
}

// Nor are long answers kept for a client that does not take them.
func TestBad_109_ListsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, serve.Options{})
	var tags []string
	for i := range 4000 {
		tags = append(tags, fmt.Sprintf("%0100d", i))
	}
	r.push("a", ocitest.Image(1, 1, 10), tags...)
	w := &patientWriter{ResponseRecorder: httptest.NewRecorder()}
	r.ServeHTTP(w, httptest.NewRequest("GET", "/v2/a/tags/list", nil))
	if w.Code != 200 || w.Body.Len() < 400_000 || w.most > 128<<10 {
		t.Errorf("status %d, %d bytes, %d of them under one deadline", w.Code, w.Body.Len(), w.most)
	}
	if !w.limited {
		t.Error("what is left in buffers has no deadline")
	}
}

// SPDX-License-Identifier: Apache-2.0

//go:build unix

package credential_test

import (
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/dray-tools/dray/internal/credential"
)

// TestBad_091_KillsGroup: what a helper has started ends with it. The pipe
// that its child holds open is closed only when the child is gone.
func TestBad_091_KillsGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"docker/config.json": `{"credsStore":"hang"}`}, func(_ *credential.Paths, o *credential.Options) {
		o.HelperTimeout = 500 * time.Millisecond
	})
	if err := syscall.Mkfifo(b.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(b.path("fifo"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if _, err := b.Lookup(t.Context(), "a.io", ""); err != nil {
		t.Fatal(err)
	}
	if err := fifo.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(fifo); err != nil {
		t.Errorf("the child of the helper lives on: %v", err)
	}
}

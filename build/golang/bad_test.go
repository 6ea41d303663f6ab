// SPDX-License-Identifier: Apache-2.0

package golang_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/golang"
)

// A compiler that hangs ends with the build.
func TestBad_090_Hangs(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the go command is a script here")
	}
	real, err := exec.LookPath("go")
	must(t, err)
	w, dir := newWorld(t), module(t, app)
	slow, began := filepath.Join(t.TempDir(), "go"), filepath.Join(t.TempDir(), "began")
	write(t, slow, "#!/bin/sh\nif [ \"$1\" = build ]; then echo > "+began+"; exec sleep 300; fi\nexec "+real+" \"$@\"\n")
	must(t, exec.Command("chmod", "+x", slow).Run())
	must(t, exec.Command("mkfifo", began).Run())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.ctx = ctx
	go func() {
		_, _ = os.ReadFile(began) // until it is there
		cancel()
	}()
	start := time.Now()
	_, _, err = w.build(dir, []string{"./cmd/app"}, golang.Options{Go: slow}, build.Want{})
	if took := time.Since(start); !errors.Is(err, context.Canceled) || took > time.Minute {
		t.Errorf("%v after %v", err, took)
	}
}

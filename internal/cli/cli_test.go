// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dray-tools/dray/internal/cli"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

func FuzzReadPairs(f *testing.F) {
	f.Add("a b\n")
	f.Add("# comment\n\nghcr.io/a/b:1 oci:dir:1 # more\r\n")
	f.Add("a b c")
	f.Add("a/B c")
	f.Add("a\tb\na\u00a0b\n")
	f.Add("docker://a oci:x@sha256:" + strings.Repeat("0", 64))
	f.Add(strings.Repeat("x", 70_000))
	f.Fuzz(func(t *testing.T, text string) {
		pairs, err := cli.ReadPairs(strings.NewReader(text))
		if err != nil {
			if code, _ := cli.Explain(err); code != 2 && !errors.Is(err, oci.ErrUnsupported) {
				t.Fatalf("exit code %d: %v", code, err)
			}
			if !strings.HasPrefix(err.Error(), "stdin") {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		if len(pairs) == 0 || len(pairs) > strings.Count(text, "\n")+1 {
			t.Fatalf("%d pairs", len(pairs))
		}
		for _, p := range pairs {
			for _, s := range []string{p.From, p.To} {
				if _, err := ref.Parse(s); err != nil || !strings.Contains(text, s) || strings.Contains(s, "#") {
					t.Fatalf("%q: %v", s, err)
				}
			}
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[2J\u202e\u009b1m\x7f")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range cli.Printable(s) {
			if r != '\t' && !unicode.IsPrint(r) {
				t.Fatalf("%q has %q", s, r)
			}
		}
		if b := cli.Brief(cli.Printable(s)); len(b) > 410 || !utf8.ValidString(b) {
			t.Fatalf("%d bytes, %q", len(b), b)
		}
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	at := func(place string, err error) error { return oci.Wrap("", place, err) }
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{errors.New("x"), 1, ""},
		{oci.Errorf(oci.ErrUnsupported, "x"), 1, ""},
		{oci.Errorf(oci.ErrInvalid, "x"), 2, ""},
		{fmt.Errorf("x: %w", fs.ErrNotExist), 3, ""},
		{oci.ErrNotFound, 3, ""},
		{oci.ErrUnauthorized, 4, "dray login HOST "},
		{at("ghcr.io/a/b:1", oci.ErrUnauthorized), 4, "dray login ghcr.io "},
		{oci.Wrap("copy", "ghcr.io/a:1", at("quay.io:5000/a@sha256:"+strings.Repeat("0", 64), oci.ErrUnauthorized)), 4, "dray login quay.io:5000 "},
		{at("oci:dir:1", at("localhost:5000", oci.ErrUnauthorized)), 4, "dray login localhost:5000 "},
		{oci.ErrDenied, 4, ""},
		{oci.ErrCorrupt, 5, "the source or the line"},
		{errors.Join(oci.ErrCorrupt, oci.ErrNotFound), 5, "the source or the line"},
		{oci.ErrExists, 6, ""},
		{oci.ErrBusy, 7, ""},
		{context.Canceled, 130, ""},
	} {
		if code, hint := cli.Explain(c.err); code != c.code || !strings.HasPrefix(hint, c.hint) || hint != "" && c.hint == "" {
			t.Errorf("%v: %d %q, want %d %q", c.err, code, hint, c.code, c.hint)
		}
	}
}

// late is a context that ends when somebody begins to wait for that.
type late struct {
	context.Context
	end context.CancelCauseFunc
}

func (l late) Done() <-chan struct{} {
	l.end(errLate)
	return l.Context.Done()
}

var errLate = errors.New("late")

// TestInterruption: where a child was interrupted this process is too, though it
// may not have heard of it yet.
func TestInterruption(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no sh, or no signals")
	}
	for script, want := range map[string]error{"kill -INT $$": errLate, "kill -TERM $$": errLate, "kill -KILL $$": nil, "exit 1": nil} {
		ctx, end := context.WithCancelCause(t.Context())
		err := oci.Wrap("", "go build", exec.Command(sh, "-c", script).Run())
		if got := cli.Interruption(late{ctx, end}, err); err == nil || !errors.Is(got, want) {
			t.Errorf("%s: %v: got %v, want %v", script, err, got, want)
		}
		end(nil)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB",
		1_234_567_890: "1.2 GB", 1 << 62: "4.6 EB"} {
		if got := cli.Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

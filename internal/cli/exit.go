// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// The exit codes. They are documented in the README and in dray --help.
const (
	exitDone        = 0
	exitOther       = 1
	exitInterrupted = 130
)

// exits is the one table from kinds of errors to exit codes and hints; the
// first that fits counts.
var exits = []struct {
	kind error
	code int
	hint string
}{
	{errInterrupted, exitInterrupted, ""},
	{context.Canceled, exitInterrupted, ""},
	{oci.ErrCorrupt, 5, "the source or the line changed bytes; nothing wrong was tagged"},
	{oci.ErrExists, 6, ""},
	{oci.ErrUnauthorized, 4, "dray login %s stores credentials for it"},
	{oci.ErrDenied, 4, ""},
	{oci.ErrNotFound, 3, ""},
	{fs.ErrNotExist, 3, ""},
	{oci.ErrInvalid, 2, ""},
	{oci.ErrBusy, 7, ""},
}

// explain finds the exit code of an error and a line for the user who can do
// something about it.
func explain(err error) (code int, hint string) {
	var h hinted
	if errors.As(err, &h) {
		hint = h.hint
	}
	var u usageError
	if errors.As(err, &u) {
		return 2, hint
	}
	if e, ok := errors.AsType[exited](err); ok {
		return e.code, ""
	}
	for _, e := range exits {
		if errors.Is(err, e.kind) {
			if hint == "" {
				hint = strings.ReplaceAll(e.hint, "%s", host(err))
			}
			return e.code, hint
		}
	}
	return exitOther, hint
}

// host names the registry that an error comes from: that of the innermost
// place that is a reference.
func host(err error) string {
	name := "HOST"
	for {
		var e *oci.Error
		if !errors.As(err, &e) {
			return name
		}
		if r, err := ref.ParseHost(e.Place); err == nil {
			name = r.Host
		} else if r, err := ref.Parse(e.Place); err == nil && r.Host != "" {
			name = r.Host
		}
		err = e.Err
	}
}

// hinted is an error with a hint of its command.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// messages are the lines of an error; one for each that was joined.
func messages(err error) []string {
	var out []string
	for _, line := range strings.Split(err.Error(), "\n") {
		if line = printable(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// printable replaces what a terminal could act on, or show as something else.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// brief cuts what would fill the screen.
func brief(s string) string {
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// note prints a line for the user, unless -q.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		a.line(fmt.Sprintf(format, args...))
	}
}

// line prints to stderr, above progress bars if there are any.
func (a *app) line(s string) {
	s = printable(s)
	if a.bars != nil {
		a.bars.print(s)
		return
	}
	fmt.Fprintln(a.Err, s)
}

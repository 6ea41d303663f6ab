// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/dray-tools/dray/oci"
)

var errUnchanged = errors.New("unchanged")

// An editor changes JSON by a person's hand, or takes it from stdin.
type editor struct {
	a       *app
	command string // "": stdin
	pretty  bool
	file    string // what the editor has written
	shown   []byte // what it was given
}

// choose finds out who edits.
func (e *editor) choose() error {
	if f, ok := e.a.In.(*os.File); e.command != "" || !ok || !isTerminal(f) {
		return nil
	}
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if e.command = e.a.Getenv(name); strings.TrimSpace(e.command) != "" {
			return nil
		}
	}
	return errors.New("no editor: set EDITOR, or send the new JSON to stdin")
}

func (e *editor) change(ctx context.Context, raw []byte) ([]byte, error) {
	if e.command == "" {
		now, err := io.ReadAll(io.LimitReader(e.a.In, oci.MaxConfig+1))
		if err == nil && len(bytes.TrimSpace(now)) == 0 {
			err = oci.Errorf(oci.ErrInvalid, "stdin is empty: want the new JSON there")
		}
		if err == nil && bytes.Equal(now, raw) {
			err = errUnchanged
		}
		return now, err
	}
	shown := raw
	var compact, indented bytes.Buffer
	if e.pretty && json.Compact(&compact, raw) == nil && json.Indent(&indented, raw, "", "  ") == nil {
		shown = append(indented.Bytes(), '\n')
	}
	now, err := e.run(ctx, shown)
	switch {
	case err != nil:
		return nil, err
	case bytes.Equal(now, shown):
		return nil, errUnchanged
	case e.pretty && bytes.Equal(compact.Bytes(), raw) && json.Valid(now):
		compact.Reset()
		err = json.Compact(&compact, now)
		now = compact.Bytes()
	}
	return now, err
}

// run shows bytes in the editor and returns what they have become.
func (e *editor) run(ctx context.Context, shown []byte) ([]byte, error) {
	f, err := os.CreateTemp(e.a.Getenv("TMPDIR"), "dray-*.json")
	if err != nil {
		return nil, err
	}
	e.file, e.shown = f.Name(), shown
	_, err = f.Write(shown)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", e.command+` "$1"`, "sh", e.file) // as git does, so that there may be arguments
	if e.a.GOOS == "windows" {
		words := append(strings.Fields(e.command), e.file)
		cmd = exec.CommandContext(ctx, words[0], words[1:]...)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.a.In, e.a.Err, e.a.Err // stdout is for the result
	if isTerminal(e.a.Out) {
		cmd.Stdout = e.a.Out
	}
	if err := cmd.Run(); err != nil {
		return nil, oci.Wrap("", "editor "+oci.Quote(e.command), err)
	}
	return os.ReadFile(e.file)
}

// written reports whether the file has what it was not made with.
func (e *editor) written() bool {
	now, err := os.ReadFile(e.file)
	return err == nil && len(now) > 0 && !bytes.Equal(now, e.shown)
}

// finish removes the file when its content is of no more use.
func (e *editor) finish(err error) error {
	unchanged := errors.Is(err, errUnchanged)
	if err != nil && !unchanged && e.file != "" && e.written() {
		return hinted{err, "what was written is kept in " + e.file}
	}
	if e.file != "" {
		_ = os.Remove(e.file) // nothing depends on it
	}
	if unchanged {
		e.a.note("unchanged: nothing is written")
		return nil
	}
	return err
}

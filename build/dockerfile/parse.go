// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/dray-tools/dray/oci"
)

// What a Dockerfile may cost at most.
const (
	maxText         = 4 << 20
	maxInstructions = 2000
)

// A script is a Dockerfile that was parsed. Instructions change when their
// variables are expanded, so that each evaluation needs a script of its own.
type script struct {
	escape rune
	args   []instructions.ArgCommand // before the first FROM
	stages []instructions.Stage
	warned []parser.Warning
}

// parse reads a Dockerfile. ErrInvalid, with file and line, if it is none.
func parse(name string, text []byte, lint *linter.Linter) (*script, error) {
	if lint == nil { // which a comment like "# check=skip=all" makes BuildKit's parser panic about
		lint = linter.New(&linter.Config{})
	}
	if len(text) > maxText {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: a Dockerfile of more than %d bytes", name, maxText)
	}
	r, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, located(name, 0, err)
	}
	if n := len(r.AST.Children); n > maxInstructions {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: %d instructions, more than %d", name, n, maxInstructions)
	}
	s := &script{escape: r.EscapeToken, warned: r.Warnings}
	if s.stages, s.args, err = instructions.Parse(r.AST, lint); err != nil {
		return nil, located(name, 0, err)
	}
	if len(s.stages) == 0 {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: there is no FROM", name)
	}
	return s, nil
}

// located says where an error of BuildKit's parser is, as FILE:LINE. Its line is
// used if the error has none.
func located(name string, line int, err error) error {
	if at, ok := errors.AsType[*parser.LocationError](err); ok {
		if n := firstLine(at.Locations...); n > 0 {
			line = n
		}
	}
	return oci.Wrap("", where(name, line), bare(err))
}

// firstLine is where something begins; 0: nowhere.
func firstLine(all ...[]parser.Range) (line int) {
	for _, list := range all {
		for _, r := range list {
			if line == 0 || r.Start.Line < line {
				line = r.Start.Line
			}
		}
	}
	return line
}

// where is FILE:LINE.
func where(name string, line int) string {
	if line == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, line)
}

// bare is an error of BuildKit's parser without what it says of where.
func bare(err error) error {
	if err == nil {
		return nil
	}
	if at, ok := errors.AsType[*parser.LocationError](err); ok {
		err = at.Unwrap()
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return oci.Errorf(oci.ErrInvalid, "%s", text)
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
)

// For tests.
var (
	ReadPairs = func(r io.Reader) ([]dray.Pair, error) { return readPairs(r, "-") }
	Printable = printable
	Brief     = brief
	Size      = size
	Explain   = explain

	EscapeJSON = escapeJSON
	CleanText  = cleanText
)

// What the flags of append are read with.
var (
	DirLayer  = dirLayer
	FileLayer = fileLayer
)

// BuildFlags are the flags of each kind of build that help tells of.
func BuildFlags() map[string][]string {
	a, all := &app{}, map[string][]string{}
	for _, f := range a.frontends() {
		k := a.kind(f)
		k.Flags().VisitAll(func(fl *pflag.Flag) { all[k.Name()] = append(all[k.Name()], fl.Name) })
	}
	return all
}

// Command is one of the commands, with its flags.
func Command(words ...string) (*cobra.Command, error) {
	a := &app{World: System()}
	c, rest, err := a.root().Find(words)
	if err == nil && len(rest) > 0 {
		err = unknown(c, rest)
	}
	if err == nil {
		c.InheritedFlags() // so that they are among its flags
		c.InitDefaultHelpFlag()
	}
	return c, err
}

// EngineHint is the hint for an error about images that were to go to names.
func EngineHint(err error, names ...string) string {
	var h hinted
	errors.As(engineHint([]dray.BuildJob{{Targets: names}}, err), &h)
	return h.hint
}

// Interruption is why a run was ended from outside.
var Interruption = interruption

// Far is how far a progress bar is.
var Far = far

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"

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
)

// What the flags of append are read with.
var (
	DirLayer  = dirLayer
	FileLayer = fileLayer
)

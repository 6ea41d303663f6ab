// SPDX-License-Identifier: Apache-2.0

// Dray moves, inspects and serves container images.
package main

import (
	"os"

	"github.com/dray-tools/dray/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.System()))
}

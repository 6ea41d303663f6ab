// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package dir

import (
	"errors"
	"os"
)

// exchange swaps two directories in one step, which only Linux is asked for.
func exchange(*os.Root, string, string) error { return errors.ErrUnsupported }

// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package disk

import "io"

// past is for file systems of Linux.
type past struct{ w io.Writer }

func (p *past) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p *past) end() {}

// SPDX-License-Identifier: Apache-2.0

package archive

import "io"

// Limited bounds what a decompressor makes of in bytes, as spool does.
func Limited(in int64, plain func(p []byte) (int, error)) io.Reader {
	q := &quota{bounded: true}
	q.read.Add(in)
	return q.limit(readerFunc(plain))
}

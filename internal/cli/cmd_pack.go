// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// packResult is a layer as --format shows it.
type packResult struct {
	oci.Descriptor
	DiffID  oci.Digest `json:"diffID"`
	Entries int        `json:"entries"`
	Bytes   int64      `json:"bytes"`
}

func (a *app) packCommand() *cobra.Command {
	packing := &layer.Packing{Compression: layer.Gzip}
	var o layer.CreateOptions
	cmd := &cobra.Command{
		Use:   "pack DIR FILE",
		Short: "Make a layer of a directory",
		Long: `Write a layer with all that is in DIR to FILE, or with - to stdout. The same
files give the same bytes, whoever packs them: all belongs to root, and all
times are SOURCE_DATE_EPOCH or the beginning of 1970. Links are kept as they
are.

Prints the layer's digest.`,
		Example: `  dray pack --compress zstd rootfs layer.tar.zst
  dray pack --format '{{.diffID}}' rootfs layer.tar.gz`,
		Args: args(2, 2),
	}
	f := cmd.Flags()
	f.Var(packingFlag{&packing}, "compress", "how the layer is packed: gzip, zstd, none or estargz, with :LEVEL if wanted")
	f.BoolVar(&o.KeepOwner, "keep-owner", false, "keep owners, and setuid and setgid with them")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) (err error) {
		o.Packing = *packing
		if o.Time, err = sourceDate(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
			return usage(c, err)
		}
		var done layer.Created
		if !format.text() { // a template that does not fit shows before anything is written
			if err := format.print(io.Discard, packResult{}); err != nil {
				return err
			}
		}
		write := func(w io.Writer) (err error) {
			done, err = a.client.Pack(c.Context(), list[0], w, o)
			return err
		}
		if list[1] == "-" && isTerminal(a.Out) {
			return usage(c, errors.New("a terminal cannot show a layer: name a FILE or pipe it"))
		}
		if list[1] == "-" {
			err = write(a.Out)
		} else {
			err = writeFile(list[1], write)
		}
		if err != nil {
			return err
		}
		return a.printPacked(done, list[1] == "-", format)
	}
	return cmd
}

// printPacked says what was written, on stderr if the layer is on stdout.
func (a *app) printPacked(done layer.Created, busy bool, format *formatFlag) error {
	if done.Sockets > 0 {
		a.note("%s left out", count(done.Sockets, "socket"))
	}
	switch {
	case busy && format.text():
		a.note("%s", done.Descriptor.Digest)
		return nil
	case busy:
		return format.print(a.Err, packResult{done.Descriptor, done.DiffID, done.Entries, done.Bytes})
	case format.text():
		_, err := fmt.Fprintln(a.Out, done.Descriptor.Digest)
		return err
	}
	return format.print(a.Out, packResult{done.Descriptor, done.DiffID, done.Entries, done.Bytes})
}

// sourceDate reads SOURCE_DATE_EPOCH, which may be empty.
func sourceDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<33-1 { // what the plain header of a tar holds
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %s: want seconds since 1970", oci.Quote(s))
	}
	return time.Unix(n, 0), nil
}

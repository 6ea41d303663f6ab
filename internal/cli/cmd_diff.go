// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/compare"
	"github.com/dray-tools/dray/oci"
)

var errDiffer = errors.New("the images differ")

func (a *app) diffCommand() *cobra.Command {
	var side dray.Side
	var platform platformFlag
	var only []string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show what differs between two images, from manifest to files",
		Long: `Show what differs between two images: manifest, config, layers, installed
packages (dpkg, apk, rpm) and files. Indexes are compared platform by platform.
A and B can be in different places. In front of each line + is what only B has,
- what only A has, ~ what both have and is not the same. Times of files are not
compared. Layers are read only for packages and files, and only where the
images differ.`,
		Example: `  dray diff ghcr.io/a/b:1 ghcr.io/a/b:2
  dray diff --only packages,config --platform linux/arm64 debian:12 debian:13
  dray diff --exit-code oci:dir:1 ghcr.io/a/b:1`,
		Args: args(2, 2),
	}
	f := cmd.Flags()
	f.StringSliceVar(&only, "only", nil, "compare only `SECTIONS`: manifest, config, layers, packages, files")
	f.BoolVar(&exitCode, "exit-code", false, "exit with 1 if they differ")
	f.Var(&platform, "platform", "this platform of indexes")
	sideFlags(f, &side, "", "the registries")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		o := compare.Options{}
		for _, s := range only {
			if !slices.Contains(compare.Sections[:], compare.Section(s)) {
				return usage(c, oci.Errorf(oci.ErrInvalid, "--only %s: want manifest, config, layers, packages or files", oci.Quote(s)))
			}
			o.Only = append(o.Only, compare.Section(s))
		}
		r, err := a.client.Diff(c.Context(), list[0], list[1], side, platform.p, o)
		if err != nil {
			return err
		}
		if format.text() {
			err = printReport(a.Out, r)
		} else {
			err = format.print(a.Out, r)
		}
		if err == nil && exitCode && !r.Same() {
			err = errDiffer
		}
		return err
	}
	return cmd
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

func (a *app) indexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Make and change indexes: images for several platforms under one name",
		Args:  func(c *cobra.Command, list []string) error { return unknown(c, list) },
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(a.indexCreateCommand(), a.indexAddCommand(), a.indexRemoveCommand(), a.indexFilterCommand(),
		a.indexAnnotateCommand(), a.indexListCommand(), a.indexPushSpecCommand())
	return cmd
}

func (a *app) indexListCommand() *cobra.Command {
	var side dray.Side
	cmd := &cobra.Command{
		Use:     "list INDEX",
		Short:   "List what an index holds",
		Example: "  dray index list docker.io/library/busybox:1.36",
		Args:    args(1, 1),
	}
	sideFlags(cmd.Flags(), &side, "", "the registry")
	format := addFormat(cmd.Flags())
	cmd.RunE = func(c *cobra.Command, list []string) error {
		l, err := a.client.ListIndex(c.Context(), list[0], side)
		if err != nil {
			return err
		}
		if !format.text() {
			return format.print(a.Out, l)
		}
		return printIndex(a.Out, l)
	}
	return cmd
}

func printIndex(out io.Writer, l *dray.IndexListing) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DIGEST\tMEDIA TYPE\tPLATFORM\tSIZE")
	for _, e := range l.Manifests {
		name := e.PlatformName
		switch {
		case e.About != "":
			name = "about " + short(string(e.About))
		case name == "":
			name = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Digest, brief(printable(e.MediaType)), printable(name), size(e.Size))
	}
	return w.Flush()
}

// patternsFlag is any number of platforms, repeated or with commas between.
type patternsFlag struct{ list *[]edit.Pattern }

func (p patternsFlag) String() string { return "" }
func (patternsFlag) Type() string     { return "os[/arch[/variant]]" }
func (p patternsFlag) Set(s string) error {
	for _, one := range strings.Split(s, ",") {
		x, err := edit.ParsePattern(one)
		if err != nil {
			return err
		}
		*p.list = append(*p.list, x)
	}
	return nil
}

// digestsFlag is any number of digests.
type digestsFlag struct{ list *[]oci.Digest }

func (d digestsFlag) String() string { return "" }
func (digestsFlag) Type() string     { return "DIGEST" }
func (d digestsFlag) Set(s string) error {
	x, err := oci.ParseDigest(s)
	*d.list = append(*d.list, x)
	return err
}

// indexHint says what helps against what was refused.
func indexHint(err error, replace bool) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, edit.ErrNoAnnotations), errors.Is(err, edit.ErrNotDocker):
		return hinted{err, "--media-types oci makes it an index of OCI's"}
	case errors.Is(err, edit.ErrPlatform):
		return hinted{err, "--force lets the index say it nevertheless"}
	case errors.Is(err, oci.ErrExists) && replace:
		return hinted{err, "--replace takes out what the index has for the platform, --allow-duplicates keeps both"}
	case errors.Is(err, oci.ErrExists):
		return hinted{err, "--allow-duplicates keeps both"}
	}
	return err
}

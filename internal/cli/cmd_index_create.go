// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// indexFlags are those of the commands that put images into an index.
type indexFlags struct {
	editFlags
	dray.IndexOptions
	platforms, annotations []string // CHILD=...
}

const aboutChildren = `A CHILD is any reference: of this registry or another, a layout, an archive, a
directory, an engine. What is not there yet is copied along, or mounted. Its
bytes stay as they are. An index as CHILD is taken apart: its images, with their
platforms and attestations, become entries of this one; --nested keeps it whole.

Platforms come from the images' configs. --set-platform gives another, or what
the config leaves open. There and with --child-annotation, CHILD is what the
command line calls it, or its number, from 1; of a single CHILD it may be left out.
`

func (a *app) indexCreateCommand() *cobra.Command {
	o := &indexFlags{}
	cmd := &cobra.Command{
		Use:   "create CHILD...",
		Short: "Make an index of images from anywhere",
		Long: "Make an index of images.\n\n" + aboutChildren + `
It is an index of OCI's, or with --media-types docker a manifest list, which can
hold Docker's images alone and has no annotations.`,
		Example: `  dray index create -t ghcr.io/a/b:1 ghcr.io/a/b:1-amd64 ghcr.io/a/b:1-arm64
  dray index create -t ghcr.io/a/b:1 --set-platform 2=linux/arm/v6 oci:amd64 oci:armv6`,
		Args: args(1, -1),
	}
	o.addTo(cmd.Flags(), "")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if len(o.editFlags.Targets) == 0 {
			return usage(c, errors.New("-t REF says what the index is called"))
		}
		return a.index(c, o, list, func(children []dray.Child) (*dray.Edited, error) {
			return a.client.CreateIndex(c.Context(), children, o.IndexOptions)
		})
	}
	return cmd
}

func (a *app) indexAddCommand() *cobra.Command {
	o := &indexFlags{}
	cmd := &cobra.Command{
		Use:     "add INDEX CHILD...",
		Short:   "Put more images into an index",
		Long:    "Put more images into an index. What it has keeps its bytes.\n\n" + aboutChildren,
		Example: "  dray index add ghcr.io/a/b:1 ghcr.io/a/b:1-riscv64\n  dray index add --replace ghcr.io/a/b:1 oci:new-arm64",
		Args:    args(2, -1),
	}
	o.addTo(cmd.Flags(), "INDEX")
	cmd.Flags().BoolVar(&o.Take.Replace, "replace", false, "put images in the place of those for the same platform")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		return a.index(c, o, list[1:], func(children []dray.Child) (*dray.Edited, error) {
			return a.client.AddToIndex(c.Context(), list[0], children, o.IndexOptions)
		})
	}
	return cmd
}

func (o *indexFlags) addTo(f *pflag.FlagSet, what string) {
	f.Var(patternsFlag{&o.Take.Only}, "platform", "take only these platforms of a CHILD that is an index; linux is all of Linux, linux/arm/* all variants")
	f.StringArrayVar(&o.platforms, "set-platform", nil, "say that a CHILD is for a platform, `CHILD=os/arch[/variant][:os.version][+feature]`")
	f.StringArrayVar(&o.annotations, "child-annotation", nil, "set an annotation of the entry of a CHILD, `CHILD=KEY=VALUE`")
	f.BoolVar(&o.Take.Nested, "nested", false, "let a CHILD that is an index be one entry")
	o.addCommon(f, what)
}

// addCommon adds what a spec has as well.
func (o *indexFlags) addCommon(f *pflag.FlagSet, what string) {
	f.VarP(actFlag(func(s string) error {
		scope, rest := cutScope(s)
		key, value, err := keyValue(rest)
		if err == nil && scope != "index" && rest != s {
			err = fmt.Errorf("annotation of %s: want index, or --child-annotation", oci.Quote(scope))
		}
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations[key] = value
		return err
	}), "annotation", "a", "set an annotation of the index, `KEY=VALUE`")
	f.StringVar(&o.ArtifactType, "artifact-type", "", "say that the index is an artifact of `TYPE`")
	f.StringVar(&o.Subject, "subject", "", "let the index refer to `REF`")
	f.BoolVar(&o.Take.Duplicates, "allow-duplicates", false, "allow several images for one platform")
	f.BoolVar(&o.Take.Force, "force", false, "allow platforms that contradict the images' configs")
	addEditFlags(f, &o.editFlags, what)
	f.Lookup("media-types").Usage = "make it an index of `FAMILY`: oci or docker; what it lists stays as it is"
}

// index works out an index and writes it.
func (a *app) index(c *cobra.Command, o *indexFlags, list []string, work func([]dray.Child) (*dray.Edited, error)) error {
	children, err := o.children(list)
	if err != nil {
		return usage(c, err)
	}
	return a.edit(c, &o.editFlags, func() (*dray.Edited, error) {
		o.IndexOptions.EditOptions = o.editFlags.EditOptions
		e, err := work(children)
		return e, indexHint(err, c.Flags().Lookup("replace") != nil)
	}, nil)
}

// children are the arguments, with what flags say about each.
func (o *indexFlags) children(list []string) ([]dray.Child, error) {
	out := make([]dray.Child, len(list))
	for i, name := range list {
		out[i] = dray.Child{Name: name, Annotations: map[string]string{}}
	}
	for _, s := range o.platforms {
		i, rest, err := whichChild(list, s)
		if err != nil {
			return nil, fmt.Errorf("--set-platform %w", err)
		}
		p, err := edit.ParsePlatform(rest)
		if err != nil {
			return nil, fmt.Errorf("--set-platform: %w", err)
		}
		out[i].Platform = &p
	}
	for _, s := range o.annotations {
		i, rest, err := whichChild(list, s)
		if err != nil {
			return nil, fmt.Errorf("--child-annotation %w", err)
		}
		key, value, err := keyValue(rest)
		if err != nil {
			return nil, fmt.Errorf("--child-annotation: %w", err)
		}
		out[i].Annotations[key] = value
	}
	return out, nil
}

// whichChild finds the argument that s begins with. References may have equal
// signs in them, so the longest that fits counts.
func whichChild(list []string, s string) (i int, rest string, err error) {
	i = -1
	for k, name := range list {
		if after, ok := strings.CutPrefix(s, name+"="); ok && (i < 0 || len(after) < len(rest)) {
			i, rest = k, after
		}
	}
	if number, after, ok := strings.Cut(s, "="); ok && i < 0 {
		if n, err := strconv.Atoi(number); err == nil && n >= 1 && n <= len(list) {
			return n - 1, after, nil
		}
	}
	if i < 0 && len(list) == 1 {
		return 0, s, nil
	}
	if i < 0 {
		return i, s, fmt.Errorf("%s: want it to begin with CHILD=, one of the arguments or its number", oci.Quote(s))
	}
	return i, rest, nil
}

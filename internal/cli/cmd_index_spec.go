// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/indexspec"
	"github.com/dray-tools/dray/oci"
)

func (a *app) indexPushSpecCommand() *cobra.Command {
	o := &indexFlags{}
	var template string
	var platforms []oci.Platform
	cmd := &cobra.Command{
		Use:   "push-spec [FILE]",
		Short: "Make the index that a file of manifest-tool describes",
		Long: `Make the index that a YAML file describes, in the form that manifest-tool has:

  image: registry.example/app:1
  tags: ["1.0", latest]
  annotations: {org.opencontainers.image.vendor: A}
  manifests:
    - image: registry.example/app:1-amd64
      platform: {os: linux, architecture: amd64, variant: v3}
    - image: oci:windows
      platform: {os: windows, architecture: amd64, os.version: 10.0.20348.1}

The platform, or parts of it, may be left out: the image's config says it. Of an
image that is an index, a platform chooses. osversion and osfeatures are read as
well. A key that is not known is an error. FILE - is stdin.

Without FILE, --template is the name of the images, in which OS, ARCH and VARIANT
stand for the parts of each of --platforms.`,
		Example: `  dray index push-spec app.yaml
  dray index push-spec --template ghcr.io/a/b:1-OS-ARCH --platforms linux/amd64,linux/arm64 -t ghcr.io/a/b:1`,
		Args: args(0, 1),
	}
	f := cmd.Flags()
	f.BoolVar(&o.IgnoreMissing, "ignore-missing", false, "leave out images that are not there; one that may not be read is an error")
	f.StringVar(&template, "template", "", "make the names of the images of `NAME`")
	f.Var(actFlag(func(s string) error {
		for _, one := range strings.Split(s, ",") {
			p, err := edit.ParsePlatform(one)
			if err != nil {
				return err
			}
			platforms = append(platforms, p)
		}
		return nil
	}), "platforms", "platforms for --template, `os/arch[/variant],...`")
	o.addCommon(f, "what FILE says")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if (template == "") != (len(platforms) == 0) || (template == "") != (len(list) == 1) || template != "" && len(o.editFlags.Targets) == 0 {
			return usage(c, errors.New("want FILE, or --template, --platforms and -t"))
		}
		spec, err := indexspec.FromTemplate(template, platforms)
		if len(list) == 1 {
			spec, err = a.readSpec(list[0])
		}
		if err != nil {
			return err
		}
		return a.index(c, o, nil, func([]dray.Child) (*dray.Edited, error) {
			return a.client.CreateIndexOf(c.Context(), spec, o.IndexOptions)
		})
	}
	return cmd
}

// readSpec reads a file, or stdin.
func (a *app) readSpec(name string) (*indexspec.Spec, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, indexspec.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return indexspec.Parse(name, raw)
}

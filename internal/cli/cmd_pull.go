// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
)

func (a *app) pullCommand() *cobra.Command {
	o := &copyFlags{}
	var format string
	cmd := &cobra.Command{
		Use:   "pull IMAGE... PATH",
		Short: "Copy images into a file or directory",
		Long: `Copy images to PATH, under the names that they have: into a tar as docker save
writes it (the default), an OCI layout, an OCI layout in a tar, or skopeo's
directory of one image. It is copy with a shorter way to say where to; what
PATH has already stays, is not fetched again, and gives way to an image of the
same name. PATH - is stdout, for tars.`,
		Example: `  dray pull --platform linux/amd64 busybox:1.36 busybox.tar
  dray pull --format oci ghcr.io/a/b:1 ghcr.io/a/c:1 images
  dray pull --platform linux/amd64 busybox - | docker load`,
		Args: args(2, -1),
		RunE: func(c *cobra.Command, list []string) error {
			pairs, err := dray.PullPairs(list[:len(list)-1], list[len(list)-1], format)
			if err != nil {
				return usage(c, err)
			}
			return a.copyPairs(c, pairs, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "docker", "what PATH is, a `KIND`: docker (tar of docker save), oci (layout directory), oci-archive (layout in a tar) or dir (skopeo's directory)")
	commonCopyFlags(f, o)
	sideFlags(f, &o.both, "", "the registry")
	o.format = &formatFlag{}
	return cmd
}

func (a *app) pushCommand() *cobra.Command {
	o := &copyFlags{}
	cmd := &cobra.Command{
		Use:   "push PATH IMAGE",
		Short: "Copy an image from a file or directory into a registry",
		Long: `Copy the image at PATH to IMAGE. What PATH is shows by itself: an OCI layout,
skopeo's directory of one image, a tar of either docker save or an OCI layout,
compressed or not. If it holds several images, name one: FORMAT:PATH:NAME.
Layers that are not compressed are compressed with gzip, unless --compress says
otherwise.`,
		Example: `  dray push busybox.tar registry.example/busybox:1.36
  dray push docker-archive:two.tar:app:1 registry.example/app:1`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, list []string) error {
			from, err := dray.Local(list[0])
			if err != nil {
				return err
			}
			return a.copyPairs(c, []dray.Pair{{From: from, To: list[1]}}, o)
		},
	}
	f := cmd.Flags()
	commonCopyFlags(f, o)
	sideFlags(f, &o.both, "", "the registry")
	o.format = addFormat(f)
	return cmd
}

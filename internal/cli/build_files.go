// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/files"
)

// filesFront builds plain files.
type filesFront struct{ a *app }

func (*filesFront) words() (use, short, long, example string) {
	return "files SRC:DEST...", "Build an image of plain files", `Put files and directories into an image, each as a layer.`,
		`  dray build files ./public:/srv -t registry.example/site:1`
}

func (x *filesFront) add(*pflag.FlagSet) {}

func (x *filesFront) takes(string) bool { return false }

func (x *filesFront) jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error) {
	var places []files.Place
	for _, s := range args {
		in, err := dirLayer(s)
		if err != nil {
			return nil, usage(c, err)
		}
		places = append(places, files.Place{From: in.Dir, To: in.At})
	}
	j, err := o.job(files.New(places), o.edit.Targets...)
	return []dray.BuildJob{j}, err
}

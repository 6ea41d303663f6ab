// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run PATH [-- ARGS]",
		Short: "Build an image, and run it on Kubernetes",
		Long: `Build an image and push it, and run it as a pod until it ends: with kubectl run
NAME --image REF --attach --rm --restart=Never and ARGS, of which those after
another -- are for the program. NAME is the last element of PATH, and the exit
code is kubectl's. PATH is what dray build takes: a Go program, a build of
dray.yaml, a directory; names are those of dray build go, mostly below
KO_DOCKER_REPO.`,
		Example: `  KO_DOCKER_REPO=registry.example/apps dray run ./cmd/job
  dray run ./cmd/job -t registry.example/job:1 -- --env=A=b -- -v now`,
	}
	o, g := a.addKinds(cmd)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		own, args := afterDash(c, list)
		if len(own) != 1 {
			return usage(c, wrongCount(c, len(own)))
		}
		kubectl := ""
		if !o.edit.dryRun {
			var err error
			if kubectl, err = findKubectl(); err != nil {
				return err
			}
		}
		w := &wanted{text: own[0]}
		r := &referring{a: a, c: c, g: g, o: o, list: []*wanted{w}}
		return r.build(func(with map[string]string) error {
			all := []string{"run", podName(w.path(), with[w.text]), "--image", with[w.text], "--attach", "--rm", "--restart=Never", "--log-flush-frequency=1s"}
			return a.kubectl(c.Context(), kubectl, a.In, append(all, args...)...)
		})
	}
	return cmd
}

var notOfPods = regexp.MustCompile(`[^a-z0-9]+`)

// podName makes a name for a pod of a path (RFC 1123), or of an image.
func podName(p, image string) string {
	name, _, _ := strings.Cut(path.Base(image), "@")
	if base := path.Base(nameOfPath(p)); base != "." && base != "/" && base != "..." {
		name = base
	}
	name = notOfPods.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(name[:min(len(name), 63)], "-")
}

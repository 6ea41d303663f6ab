// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// otherFlag is the error of a flag that is none; for one of docker's it says what
// is written here.
func otherFlag(c *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedName() == "load" {
		err = fmt.Errorf("%w: images get into the Docker engine with -o docker-daemon:NAME", err)
	}
	return usage(c, err)
}

// checkOutput says how a place is written that somebody wrote as for other tools.
func checkOutput(s string) error {
	switch r, err := ref.ParseAny(s); {
	case strings.HasPrefix(s, "type=") || strings.HasPrefix(s, "dest="):
		return fmt.Errorf("-o %s: want docker-daemon:NAME, docker-archive:FILE, oci-archive:FILE or oci:DIR:TAG", s)
	case err != nil && strings.ContainsAny(s, `/\`) && !strings.Contains(s, ":"), r.Host == "docker.io" && filepath.Ext(s) == ".tar":
		return fmt.Errorf("-o %s: want docker-archive:%s, oci-archive:%s, or oci:%s for a directory", s, s, s, strings.TrimSuffix(s, ".tar"))
	}
	return nil
}

// engineHint says for an image that could not be pushed to Docker Hub that the
// Docker engine is another place: for docker build a name without a host means
// that.
func engineHint(jobs []dray.BuildJob, err error) error {
	if !errors.Is(err, oci.ErrUnauthorized) && !errors.Is(err, oci.ErrDenied) && !errors.Is(err, oci.ErrBusy) {
		return err
	}
	var names []string
	for _, j := range jobs {
		names = append(names, j.Targets...)
	}
	for _, name := range names {
		r, bad := ref.ParseAny(name)
		if bad != nil || r.Host != "docker.io" || strings.Contains(name, "docker.io/") || !isAbout(err, r.WithTag(cmp.Or(r.Name, "latest")).String()) {
			continue
		}
		return hinted{err, fmt.Sprintf("%s is %s (dray login docker.io); for the Docker engine: -o docker-daemon:%s", name, r, name)}
	}
	return err
}

// isAbout reports whether an error says that it happened at a place.
func isAbout(err error, place string) bool {
	switch e := err.(type) {
	case *oci.Error:
		return e.Place == place || isAbout(e.Err, place)
	case interface{ Unwrap() error }:
		return isAbout(e.Unwrap(), place)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return isAbout(err, place) })
	}
	return false
}

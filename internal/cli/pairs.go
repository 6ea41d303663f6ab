// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// pairs collects what is to be copied.
func (a *app) pairs(c *cobra.Command, list []string, o *copyFlags) ([]dray.Pair, error) {
	filtered := len(o.filter.Include) > 0 || len(o.filter.Exclude) > 0 || o.filter.Semver != ""
	switch {
	case o.fromFile != "" && (len(list) > 0 || o.allTags):
		return nil, usage(c, fmt.Errorf("--from-file takes no other source"))
	case filtered && !o.allTags:
		return nil, usage(c, fmt.Errorf("--include, --exclude and --semver choose among --all-tags"))
	case o.fromFile != "":
		return readPairs(a.In, o.fromFile)
	case len(list) != 2:
		return nil, usage(c, wrongCount(c, len(list)))
	case o.allTags:
		return a.client.Pairs(c.Context(), list[0], list[1], o.From, o.filter)
	}
	return []dray.Pair{{From: list[0], To: list[1]}}, nil
}

// readPairs reads two references a line; blank lines and # comments do not
// count.
func readPairs(stdin io.Reader, name string) ([]dray.Pair, error) {
	in := stdin
	if name == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var out []dray.Pair
	lines := bufio.NewScanner(in)
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: want FROM TO, got %s", name, n, count(len(words), "word"))
		}
		for _, w := range words {
			if _, err := ref.Parse(w); err != nil {
				return nil, oci.Wrap("", fmt.Sprintf("%s:%d", name, n), err)
			}
		}
		out = append(out, dray.Pair{From: words[0], To: words[1]})
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, oci.Errorf(oci.ErrInvalid, "%s:%d: the line is too long", name, n)
	case err != nil:
		return nil, err
	case len(out) == 0:
		return nil, oci.Errorf(oci.ErrInvalid, "%s has no pairs of references", name)
	}
	return out, nil
}

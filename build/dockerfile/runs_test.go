// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
	"github.com/dray-tools/dray/oci"
)

// A RUN that is needed is refused, with all others, before anything of a layer is
// read. One that is not needed does not matter.
func TestRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, target string
		want         []string // parts of the error; none: it is built
	}{
		"one":            {"FROM base\nCOPY a /\nRUN make  all\n", "", []string{"Dockerfile:3: RUN make all in stage 0: dray runs nothing in images; COPY --from an image"}},
		"named":          {"FROM base AS tools\nRUN make", "", []string{"Dockerfile:2: RUN make in stage tools: ", "--build-context tools=docker-image://REF"}},
		"several":        {"FROM base\nRUN a\nCOPY --from=base /etc/passwd /x\nRUN b\nRUN c", "", []string{"Dockerfile:2: RUN a", "(2 more: lines 4, 5)"}},
		"of a stage":     {"FROM base AS one\nRUN a\nFROM base\nCOPY --from=one /x /y", "", []string{"Dockerfile:2: RUN a in stage one"}},
		"of a base":      {"FROM onrun", "", []string{"Dockerfile:1: ONBUILD RUN make all of the base onrun in stage 0"}},
		"of a stage, on": {"FROM base AS one\nONBUILD RUN a\nFROM one", "", []string{"Dockerfile:3: ONBUILD RUN a of stage one"}},
		"heredoc":        {"FROM base\nRUN <<X\necho\nX", "", []string{"Dockerfile:2: RUN"}},
		"mount":          {"FROM base AS one\nRUN a\nFROM base\nRUN --mount=from=one,target=/x b", "", []string{"Dockerfile:2: RUN a", "(1 more: line 4)"}},
		"not needed":     {"FROM base AS one\nRUN a\nFROM base\nCOPY a /srv/", "", nil},
		"later":          {"FROM base AS one\nCOPY a /srv/\nFROM one\nRUN a", "one", nil},
		"base unknown":   {"FROM nothing AS one\nRUN a\nFROM base\nCOPY a /srv/", "", nil}, // nobody asks for it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := base()
			_, err := w.build(t, dockerfile.Options{Text: []byte(c.file), Target: c.target}, build.Want{})
			if len(c.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, oci.ErrUnsupported) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %q", err, part)
				}
			}
			if len(w.read) > 0 || !strings.Contains(c.file, "ON") && c.file != "FROM onrun" && len(w.asks) > 0 {
				t.Errorf("%d layers were read, %q asked for", len(w.read), w.asks)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dray-tools/dray/internal/cli"
)

func TestBad_026_JSONIsSafeToShow(t *testing.T) {
	t.Parallel()
	nasty := "\x1b]0;x\x07 \u009b31m \u202e \U000e0001 ok ü 漢"
	raw, err := json.Marshal(nasty)
	if err != nil {
		t.Fatal(err)
	}
	got := cli.EscapeJSON(string(raw))
	if strings.ContainsAny(got, "\x1b\u009b\u202e\U000e0001") || !strings.Contains(got, "ok ü 漢") {
		t.Errorf("%q", got)
	}
	var back string
	if err := json.Unmarshal([]byte(got), &back); err != nil || back != nasty {
		t.Errorf("%q, %v", back, err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

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

func TestBad_026_TextIsSafeToShow(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := cli.CleanText(&out, strings.NewReader("{\t\"a\": \x1b]0;x\x07 \u009b31m \u202e \U000e0001 \r ok ü 漢 \xff\n}"))
	if want := "{\t\"a\": ?]0;x? ?31m ? ? ? ok ü 漢 \ufffd\n}"; err != nil || out.String() != want {
		t.Errorf("%v, %q", err, out.String())
	}
	if err := cli.CleanText(&out, iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
)

// FuzzDockerfile: whatever a Dockerfile says, evaluating it ends, with a result or
// an error of one line. Nothing is fetched: addresses are left out.
func FuzzDockerfile(f *testing.F) {
	for _, s := range []string{
		"FROM base\nCOPY . /srv/\n", "# escape=`\nFROM win\nWORKDIR C:\\x\nCOPY a C:\\y\\\nSHELL [\"x\"]\nCMD y",
		"ARG A=1\nFROM --platform=$BUILDPLATFORM base AS one\nARG A\nENV B=${A:-2} C=${A/1/2} D=${A//1/$A}\nFROM one\nCOPY --from=0 --chown=app:staff --chmod=u+x /etc/p* /x/\nUSER app\nWORKDIR w",
		"FROM onbuild\nONBUILD RUN x\nHEALTHCHECK --interval=1s CMD x\nHEALTHCHECK NONE\nEXPOSE 1-3/udp\nVOLUME [\"/v\"]\nSTOPSIGNAL 9\nMAINTAINER me\nLABEL a=b",
		"FROM base\nCOPY --parents --exclude=*.x --link ./dir/./b /n/\nCOPY <<X <<\"Y\" /z/\n$PATH\nX\n$PATH\nY\nADD a dir/ /n/\nRUN <<E\nE\n",
		"FROM scratch\nENV A=aaaaaaaa\nENV A=$A$A$A$A\nENV B=${A//a/$A} C=${A:?x} D=${D:+x} E=${A##*a}\n", "\ufeff# check=error=true\nFROM base\nMAINTAINER x", "FROM base AS base\nFROM BASE\nCOPY --from=base / /",
	} {
		f.Add([]byte(s), "")
		f.Add([]byte(s), "**\n!dir\n")
	}
	dir := f.TempDir()
	write(f, dir, map[string]string{"a": "a", "dir/b": "b"})
	f.Fuzz(func(t *testing.T, text []byte, ignore string) {
		if len(text)+len(ignore) > 4000 || strings.Contains(string(text), ":/") || strings.Contains(string(text), "@") || strings.Contains(strings.ToLower(string(text)), ".git") || strings.Contains(string(text), "github") {
			return
		}
		here := t.TempDir()
		write(t, here, map[string]string{"Dockerfile": string(text), "Dockerfile.dockerignore": ignore, "a": "a", "dir/b": "b"})
		if err := os.Symlink("../..", filepath.Join(here, "dir", "up")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		o := dockerfile.Options{Context: here, Host: platform("linux/amd64"), Args: map[string]string{"A": "given"}}
		if _, err := dockerfile.Check(ctx, engine(t, base()), o, build.Want{}); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
		_, err := build.Run(ctx, engine(t, base()), dockerfile.New(o), build.Want{}, build.RunOptions{})
		if err != nil && (strings.Contains(err.Error(), "\n") || ctx.Err() != nil) {
			t.Errorf("%q", err)
		}
	})
}

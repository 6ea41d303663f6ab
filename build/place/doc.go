// SPDX-License-Identifier: Apache-2.0

// Package place finds what COPY and ADD mean and writes it as the tar of a layer.
package place

// SPDX-License-Identifier: Apache-2.0

// Package peers tests dray against real software: the distribution registry, a
// Docker engine, skopeo, crane and regctl. What is missing is skipped by name;
// with DRAY_TEST_REQUIRE=1 that is a failure.
package peers

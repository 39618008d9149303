/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of src/report/html/ and the chart library, as the build put them into the program (cmake/embed.cmake).
 */
#ifndef OPSM_REPORT_HTML_ASSETS_H
#define OPSM_REPORT_HTML_ASSETS_H
#include <stddef.h>

struct html_asset {
    const unsigned char *data;
    size_t size;
};

extern const struct html_asset html_page;    /* the template; its marks are in html.c */
extern const struct html_asset html_style;   /* report.css */
extern const struct html_asset html_script;  /* report.js */
extern const struct html_asset html_chart;   /* Chart.js */
extern const struct html_asset html_license; /* of Chart.js, as HTML-safe text */

#endif

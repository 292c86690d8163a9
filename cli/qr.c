#include "qr.h"

#include <qrencode.h>
#include <stdlib.h>

static bool light(const QRcode *q, int x, int y)
{
    if (x < 0 || y < 0 || x >= q->width || y >= q->width) {
        return true;
    }
    return (q->data[y * q->width + x] & 1) == 0;
}

bool qr_draw(FILE *f, const char *text, bool colour)
{
    /* Case does not count, so that letters and digits take 5.5 bits each. */
    QRcode *q = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 0);
    if (q == NULL) {
        return false;
    }
    for (int y = -QR_QUIET; y < q->width + QR_QUIET; y += 2) {
        (void)fputs(colour ? "\033[97;40m" : "", f);
        for (int x = -QR_QUIET; x < q->width + QR_QUIET; x++) {
            bool up = light(q, x, y);
            /* Below the last row of an odd height there is nothing to draw. */
            bool down = y + 1 < q->width + QR_QUIET && light(q, x, y + 1);
            (void)fputs(up && down ? "█" : up ? "▀" : down ? "▄" : " ", f);
        }
        (void)fputs(colour ? "\033[0m\n" : "\n", f);
    }
    QRcode_free(q);
    return true;
}

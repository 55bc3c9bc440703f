/* Wine 8.0 has no bcryptprimitives.dll. Rust's standard library asks it for random bytes: here they come from advapi32. */

#include <windows.h>

/* RtlGenRandom, which has no import under that name. */
BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG count);

/* RtlGenRandom counts in 32 bits. */
static const SIZE_T PIECE_MAX = 0x10000000;

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count)
{
    while (count > 0) {
        ULONG piece = (ULONG)(count < PIECE_MAX ? count : PIECE_MAX);
        if (!SystemFunction036(bytes, piece))
            return FALSE;
        bytes += piece;
        count -= piece;
    }
    return TRUE;
}

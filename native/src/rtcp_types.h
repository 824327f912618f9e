/* Numbers of RTCP that both its reader and its writers use; no other file. */
#ifndef PC_RTCP_TYPES_H
#define PC_RTCP_TYPES_H

enum pc_rtcp_type {
    TYPE_SR = 200,
    TYPE_RR = 201,
    TYPE_SDES = 202,
    TYPE_BYE = 203,
    TYPE_RTPFB = 205,
    TYPE_PSFB = 206,
    TYPE_XR = 207,
};

enum { RTPFB_NACK = 1, RTPFB_TRANSPORT_CC = 15 };
enum { PSFB_PLI = 1, PSFB_FIR = 4, PSFB_APPLICATION = 15 };
enum { SDES_CNAME = 1, XR_REFERENCE_TIME = 4 };

#define REPORT_BLOCK_BYTES 24

/* Status symbols of transport feedback; each is the size of its delta. */
enum pc_rtcp_status { NOT_RECEIVED = 0, SMALL_DELTA = 1, LARGE_DELTA = 2, RESERVED = 3 };

#endif

"""Damaged tables of text: CSV in every dialect, ECSV, VOTable."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Final

from tests.fuzz.mutations import Files, damage_files, mutate, mutate_bytes

__all__ = [
    "MAPPED_COLUMNS",
    "draw_csv",
    "draw_ecsv",
    "draw_mapped_csv",
    "draw_plasticc",
    "draw_supernnova",
    "draw_votable",
]

LONG: Final = (
    b"SNID,MJD,BAND,FLUXCAL,FLUXCALERR,HOSTGAL_PHOTOZ,RA\n007,56000.0,g,10.0,1.0,0.25,10.5\n"
    b"007,56000.5,r,20.0,2.0,0.25,10.5\n12,56007.0,g,30.0,3.0,-9.0,-9\n",
    b'"SNID";"MJD";"FLT";"FLUXCAL";"FLUXCALERR";"PHOTFLAG"\n"a b";56000.0;"g";1.0;1.0;4096\n'
    b'"c";56001.0;"r";2.5;0.5;0\n"a b";56002.0;"r";2.5;0.5;0\n',
    b"SNID\tMJD\tBAND\tFLUXCAL\tFLUXCALERR\tZP_FLUXCAL\tSIM_TYPE_NAME\n1\t56000\tg\t1\t1\t30\tSNIa\n1\t56001\tr\t2\t1\t30\tSNIa\n",
    b"SNID MJD BAND FLUXCAL FLUXCALERR\r\n1 56000 g 1 1\r\n1 -777 - -777 -777\r\n2 56000 g 1 1\r\n",
)
MAPPED_COLUMNS: Final = {
    "SNID": "who", "MJD": "time", "BAND": "filter", "FLUXCAL": "f", "FLUXCALERR": "df", "PHOTOZ": "z", "SNTYPE": "kind",
}  # fmt: skip
MAPPED: Final = (b"who,time,filter,f,df,z,kind\n007,56000.0,g,10.0,1.0,0.25,101\n12,56007.0,r,30.0,3.0,-9.0,22\n",)
PLASTICC: Final[Files] = (
    (
        "plasticc_train_metadata.csv",
        b"object_id,ra,decl,hostgal_photoz,hostgal_specz,mwebv,true_target,true_z\n615,349.0,-61.9,0.1,0.2,0.017,42,0.21\n"
        b"713,53.0,-27.7,1.8,,0.007,90,0.3\n",
    ),
    (
        "plasticc_train_lightcurves.csv",
        b"object_id,mjd,passband,flux,flux_err,detected_bool\n615,59750.4,2,-544.8,3.6,1\n615,59750.5,1,-816.4,5.5,0\n"
        b"713,59751.4,5,12.0,3.6,1\n",
    ),
)
SUPERNNOVA: Final[Files] = (
    (
        "DES_HEAD.csv",
        b",SNID,HOSTGAL_PHOTOZ,RA,SIM_REDSHIFT_CMB,SNTYPE\n0,7,0.25,10.5,0.3,122\n1,12,-9.0,1.0,0.3,101\n",
    ),
    (
        "DES_PHOT.csv",
        b",SNID,MJD,FLUXCAL,FLUXCALERR,FLT\n0,7,56000.0,10.0,1.0,g\n1,7,56001.0,2.0,1.0,r\n2,12,56007.0,3.0,3.0,g\n",
    ),
)
_CSV_WORDS: Final = (
    b'" "" \'" "," ; \t | SNID MJD BAND FLT FLUXCAL FLUXCALERR PHOTFLAG ZP_FLUXCAL object_id passband mjd flux '
    b"flux_err "
    b"detected detected_bool RA DEC MWEBV HOSTGAL_PHOTOZ SNTYPE SIM_TYPE_NAME SIM_TYPE_INDEX SIM_PEAKMJD "
    b"true_target NA N/A "
    b"nan \xef\xbb\xbf \xff\xfe \xe9 \xed\xa0\x80 \x00 \x1a -777 True SNIa 2e9"
).split(b" ")

ECSV: Final = (
    b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: SNID, datatype: string}\n# - {name: MJD, datatype: float64, "
    b"unit: d}\n"
    b"# - {name: BAND, datatype: string}\n# - {name: FLUXCAL, datatype: float64}\n# - {name: FLUXCALERR, "
    b"datatype: float64}\n"
    b'SNID MJD BAND FLUXCAL FLUXCALERR\n007 56000.0 g 10.0 1.0\n"a b" 56001.0 r 20.0 2.0\n',
    b"# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n# - {name: SNID, datatype: int64}\n# - {name: MJD, "
    b"datatype: float32}\n"
    b"# - {name: BAND, datatype: string, subtype: json}\n# - {name: FLUXCAL, datatype: float16}\n"
    b"# - {name: FLUXCALERR, datatype: int8}\n# - {name: PHOTFLAG, datatype: uint64}\n# schema: astropy-2.0\n"
    b'SNID,MJD,BAND,FLUXCAL,FLUXCALERR,PHOTFLAG\n7,56000.0,"""g""",10.0,1,0\n7,56001.0,"""r""",2.0,1,\n',
)
_ECSV_WORDS: Final = (
    b"string int8 int64 uint64 float16 float32 float64 float128 bool complex64 complex128 object bytes json "
    b"float64[3] float64[null] "
    b"string[2] datatype: subtype: name: unit: meta: !!omap !!binary !!python/name:os.system &a *a <<: {a:[]} "
    b"delimiter: ',' "
    b"schema: astropy-2.0 __serialized_columns__: {__class__:astropy.time.core.Time} !astropy.units.Unit {unit:m} [[[[ "
    b'serialized_columns null ~ True False [1,2] "[null]" \xef\xbb\xbf \xe9 \x00 "" \''
).split(b" ")

_VOTABLE: Final = (
    b'<?xml version="1.0"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>\n'
    b'<FIELD name="SNID" datatype="char" arraysize="*"/><FIELD name="MJD" datatype="double" unit="d"/>\n'
    b'<FIELD name="BAND" datatype="unicodeChar" arraysize="2"/><FIELD name="FLUXCAL" datatype="float"/>\n'
    b'<FIELD name="FLUXCALERR" datatype="double"><VALUES null="-9"/></FIELD><DATA><TABLEDATA>\n'
    b"<TR><TD>007</TD><TD>56000.0</TD><TD>g</TD><TD>10.0</TD><TD>1.0</TD></TR>\n"
    b"<TR><TD>a b</TD><TD>56001.0</TD><TD>r</TD><TD>20.0</TD><TD>2.0</TD></TR>\n"
    b"</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>\n"
)
_VOTABLE_WORDS: Final = (
    b'datatype="int" datatype="long" datatype="unsignedByte" datatype="bit" datatype="boolean" datatype="floatComplex" '
    b'datatype="char" datatype="unicodeChar" datatype="float" datatype="string" arraysize="*" arraysize="3" '
    b'arraysize="2x*" '
    b'arraysize="0" arraysize="999999999999" arraysize="-1" arraysize="1x1" precision="F2" precision="9" width="3" '
    b'xtype="timestamp" null="0" nrows="3" nrows="99999999999" encoding="base64" encoding="gzip" '
    b'href="file:///dev/zero" '
    b'href="/etc/passwd" version="1.1" version="9" ref="a" ID="a" name="SNID" name="MJD" name="" <TABLE> </TABLE> '
    b"<TR> <TD> </TR> </TD> <TD/> "
    b"<BINARY> <BINARY2> <STREAM> <FITS> <FIELD/> <GROUP> <VOTABLE> <INFO/> <RESOURCE> <!-- --> <![CDATA[ ]]> "
    b"&amp; &lt; &x; &#0; &#xFFFE; "
    b'<!DOCTYPE <?xml encoding="utf-16"?> ucd="a;b" unit="%%" \xef\xbb\xbf \xe9 \x00 1,2 true ?'
).split(b" ")
_STREAM: Final = re.compile(rb'(<STREAM encoding="base64">)(.*?)(</STREAM>)', re.DOTALL)


def draw_csv(rng: random.Random) -> Files:
    """Damage a table of measurements that stands alone."""
    return (("night.csv", mutate(rng, LONG, _CSV_WORDS)),)


def draw_mapped_csv(rng: random.Random) -> Files:
    """Damage a table whose columns only MAPPED_COLUMNS explains."""
    return (("mine.csv", mutate(rng, MAPPED, _CSV_WORDS)),)


def draw_plasticc(rng: random.Random) -> Files:
    """Damage light curves, their metadata, or both."""
    return damage_files(rng, PLASTICC, _with_words(rng))


def draw_supernnova(rng: random.Random) -> Files:
    """Damage PHOT, HEAD, or both."""
    return damage_files(rng, SUPERNNOVA, _with_words(rng))


def draw_ecsv(rng: random.Random) -> Files:
    """Damage an ECSV table."""
    return (("night.ecsv", mutate(rng, ECSV, _ECSV_WORDS)),)


def draw_votable(rng: random.Random) -> Files:
    """Damage a VOTable's elements, or the bytes of its binary rows."""
    if rng.random() < 0.7:
        return (("night.vot", mutate(rng, votables(), _VOTABLE_WORDS)),)
    data = rng.choice(votables()[1:])
    return (("night.vot", _STREAM.sub(lambda found: found[1] + _recoded(rng, found[2]) + found[3], data)),)


@cache
def votables() -> tuple[bytes, ...]:
    """Return one table as text and in both binary encodings."""
    from astropy.io.votable import parse_single_table

    forms = [_VOTABLE]
    for form in ("binary", "binary2"):
        table = parse_single_table(BytesIO(_VOTABLE)).to_table()
        written = BytesIO()
        table.write(written, format="votable", tabledata_format=form)
        forms.append(written.getvalue())
    return tuple(forms)


def _with_words(rng: random.Random) -> Callable[[bytes], bytes]:
    return lambda data: mutate(rng, (data,), _CSV_WORDS)


def _recoded(rng: random.Random, coded: bytes) -> bytes:
    return base64.b64encode(mutate_bytes(rng, (base64.b64decode(coded),)))

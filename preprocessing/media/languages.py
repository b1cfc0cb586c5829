"""Compares the language that a user names with the tag that a file has."""

import re

TAG = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{1,8})*")

# ISO 639-1, then ISO 639-2 as in terminology and, where it differs, in bibliography.
_CODES = """
"aa aar,ab abk,ae ave,af afr,ak aka,am amh,an arg,ar ara,as asm,av ava,ay aym,az aze,
ba bak,be bel,bg bul,bi bis,bm bam,bn ben,bo bod tib,br bre,bs bos,ca cat,ce che,
ch cha,co cos,cr cre,cs ces cze,cu chu,cv chv,cy cym wel,da dan,de deu ger,dv div,
dz dzo,ee ewe,el ell gre,en eng,eo epo,es spa,et est,eu eus baq,fa fas per,ff ful,
fi fin,fj fij,fo fao,fr fra fre,fy fry,ga gle,gd gla,gl glg,gn grn,gu guj,gv glv,
ha hau,he heb,hi hin,ho hmo,hr hrv,ht hat,hu hun,hy hye arm,hz her,ia ina,id ind,
ie ile,ig ibo,ii iii,ik ipk,io ido,is isl ice,it ita,iu iku,ja jpn,jv jav,ka kat geo,
kg kon,ki kik,kj kua,kk kaz,kl kal,km khm,kn kan,ko kor,kr kau,ks kas,ku kur,kv kom,
kw cor,ky kir,la lat,lb ltz,lg lug,li lim,ln lin,lo lao,lt lit,lu lub,lv lav,mg mlg,
mh mah,mi mri mao,mk mkd mac,ml mal,mn mon,mr mar,ms msa may,mt mlt,my mya bur,na nau,
nb nob,nd nde,ne nep,ng ndo,nl nld dut,nn nno,no nor,nr nbl,nv nav,ny nya,oc oci,
oj oji,om orm,or ori,os oss,pa pan,pi pli,pl pol,ps pus,pt por,qu que,rm roh,rn run,
ro ron rum,ru rus,rw kin,sa san,sc srd,sd snd,se sme,sg sag,si sin,sk slk slo,sl slv,
sm smo,sn sna,so som,sq sqi alb,sr srp,ss ssw,st sot,su sun,sv swe,sw swa,ta tam,
te tel,tg tgk,th tha,ti tir,tk tuk,tl tgl,tn tsn,to ton,tr tur,ts tso,tt tat,tw twi,
ty tah,ug uig,uk ukr,ur urd,uz uzb,ve ven,vi vie,vo vol,wa wln,wo wol,xh xho,yi yid,
yo yor,za zha,zh zho chi,zu zul
"""
_ONE_CODE = {  # every form -> one of them
    code: codes[0]
    for codes in (row.split() for row in _CODES.replace("\n", "").split(","))
    for code in codes
}


def is_known(tag: str) -> bool:
    """Whether it has a language's form; one of two letters must be in ISO 639-1."""
    tag = _tidy(tag)
    is_tag = TAG.fullmatch(tag) is not None
    return is_tag and (tag.find("-") == 3 or len(tag) == 3 or _first(tag) in _ONE_CODE)


def is_same(wanted: str, said: str | None) -> bool:
    """Whether a file's tag is of the language that is wanted.

    >>> is_same("en", "eng"), is_same("ger", "de-AT"), is_same("pt-BR", "pt-PT")
    (True, True, False)
    """
    one, two = _tidy(wanted), _tidy(said or "")
    if "-" in one and "-" in two and one.split("-")[1:] != two.split("-")[1:]:
        return False
    one, two = _first(one), _first(two)
    return bool(two) and _ONE_CODE.get(one, one) == _ONE_CODE.get(two, two)


def _tidy(tag: str) -> str:
    return tag.strip().lower().replace("_", "-")


def _first(tag: str) -> str:
    return tag.split("-")[0]

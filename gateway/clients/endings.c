// SPDX-License-Identifier: Apache-2.0
//
// The ends of host names: a constant.

#include "gateway/clients/endings.h"

const char endings[] =
    "ac academy ad ae af ag ai al am amsterdam ao app apple aq ar arpa art as asia at au aw aws ax az azure ba "
    "bar bayern bb bd be berlin best bf bg bh bi bio biz bj blog blue bm bn bo br brussels bs bt build business "
    "bw by bz ca cafe cat cc cd center cf cg ch chat ci city ck cl click cloud club cm cn co codes coffee com "
    "community company computer consulting cool coop corp cr cu cv cw cx cy cz day de deals dev digital direct "
    "dj dk dm do domains dz earth ec edu education ee eg email energy engineer engineering enterprises er es et "
    "eu expert express family fans fi finance fj fk fm fo foundation fr fun fund fyi ga games gd ge gf gg gh gi "
    "gl global gm gn goog google gov gp gq gr group gs gt gu guide guru gw gy hamburg help hk hm hn home hosting "
    "house how hr ht hu icu id ie il im in info ink int internal international io iq ir is it je jm jo jobs jp "
    "ke kg kh ki kim km kn koeln kp kr kw ky kz la lan land law lb lc lgbt li life link live lk llc local lol "
    "london lr ls lt ltd lu lv ly ma management market marketing mc md me media mg mh microsoft mil mk ml mm mn "
    "mo mobi moe money monster mp mq mr ms mt mu museum mv mw mx my mz na name nc ne net network new news nf ng "
    "ni ninja nl no np nr nu nyc nz om one onl online ooo org ovh pa page paris partners party pe pf pg ph "
    "photos pink pizza pk pl plus pm pn pr press pro productions ps pt pub pw py qa re red rest review rip ro "
    "rocks rs ru ruhr run rw sa saarland sale sb sc school science sd se services sg sh shop show si site sk sky "
    "sl sm sn so social software solutions space sr ss st store stream studio su support sv swiss sx sy systems "
    "sz tc td team tech technology tel test tf tg th tips tirol tj tk tl tm tn to today tools top tours town tr "
    "trade training travel tt tv tw tz ua ug uk university uno us uy uz va vc ve vg vi vip vlaanderen vn vu "
    "wales website wf wien wiki win work works world ws wtf xxx xyz yandex ye yt za zm zone zw";

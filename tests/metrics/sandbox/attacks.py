# ruff: noqa: E501
"""Hostile answers to a task whose right answer is `def solve(x): return x + 3`; none of them gives it."""

_REACH = """
import ctypes, gc, os, sys, threading, time
def everything():
    seen, stack = set(), [sys.modules, *gc.get_objects()]
    frame = sys._getframe()
    while frame:
        stack += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    while stack and len(seen) < 200_000:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, dict):
            stack += list(one.values())
        elif isinstance(one, (list, tuple)):
            stack += list(one)
def tell_all(words):
    for number in range(0, 256):
        for word in words:
            try:
                os.write(number, word)
            except OSError:
                pass
"""
_WRONG = "\ndef solve(x):\n    return 0\n"

ATTACKS: dict[str, str] = {
    "outlive: a session of its own": "import ctypes, os, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    "try:\n    os.setsid()\nexcept OSError:\n    pass\ntime.sleep(3600)",
    "outlive: double fork": "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass\n"
    + _WRONG,
    "outlive: fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "outlive: clone by hand": "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.syscall(56, 17, 0, 0, 0, 0) >= 0\n"
    + _WRONG,
    "outlive: deaf to signals": "import signal, time\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n"
    "    except (OSError, ValueError):\n        pass\ntime.sleep(3600)",
    "outlive: exit in a handler": "import signal, os\nsignal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.01)\nwhile True: pass",
    "outlive: deaf to its time": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
    "outlive: a thread that stays": "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()"
    + _WRONG,
    "outlive: daemon threads": "import threading\nthreading.stack_size(32768)\ndef spin():\n    while True: pass\n"
    "while True:\n    try:\n        threading.Thread(target=spin, daemon=True).start()\n    except RuntimeError:\n        pass",
    "outlive: stop all": "import os, signal\nos.kill(-1, signal.SIGSTOP)\nos.kill(os.getpid(), signal.SIGSTOP)",
    "outlive: kill all": "import os, signal\ntry:\n    os.kill(1, 9)\n    os.kill(-1, 9)\nexcept OSError:\n    pass"
    + _WRONG,
    "outlive: zombies": "import subprocess\nfor _ in range(10_000):\n    try:\n        subprocess.Popen(['/bin/true'])\n"
    "    except OSError:\n        pass" + _WRONG,
    "outlive: endless recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef solve(x):\n    return solve(x + 1)",
    "outlive: endless big numbers": "def solve(x):\n    return 9 ** 9 ** 9",
    "outlive: endless text": "def solve(x):\n    return 'x' * (1 << 28)",
    "outlive: endless iterator": "import itertools\ndef solve(x):\n    return itertools.count()",
    "outlive: hang without end at the end": "import atexit, time\natexit.register(time.sleep, 3600)" + _WRONG,
    "memory: shared segments": "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\nfor _ in range(1000):\n"
    "    n = libc.shmget(0, 64 << 20, 0o1600)\n    assert n >= 0\n    p = libc.shmat(n, 0, 0)\n"
    "    ctypes.memset(p, 1, 64 << 20)\n    libc.shmdt(ctypes.c_void_p(p))",
    "memory: memfd": "import os\nkept = []\nfor _ in range(1000):\n    f = os.memfd_create('x')\n    os.write(f, bytes(8 << 20))\n    kept.append(f)",
    "memory: message queues": "import ctypes\nassert ctypes.CDLL(None).msgget(0, 0o1600) >= 0" + _WRONG,
    "memory: all of it": "x = []\nwhile True:\n    x.append(bytearray(16 << 20))",
    "memory: files": "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'wb').write(bytes(1 << 20))",
    "memory: names": "import os\nn = 0\nwhile True:\n    n += 1\n    os.mkdir(str(n))",
    "memory: output": "while True:\n    print('x' * 100_000)",
    "memory: pipes": "import os, fcntl\nkept = []\nwhile True:\n    kept.append(os.pipe())\n    fcntl.fcntl(kept[-1][1], 1031, 1 << 20)",
    "pass: leave early": "import os\nos._exit(0)",
    "pass: leave when called": "import os\ndef solve(x):\n    os._exit(0)",
    "pass: leave politely": "import sys\nsys.exit(0)",
    "pass: leave at the end": "import atexit, os\natexit.register(os._exit, 0)" + _WRONG,
    "pass: what frames hold": _REACH
    + "words = [w for w in everything() if isinstance(w, (bytes, str)) and 8 <= len(w) <= 64]\n"
    "words = [w if isinstance(w, bytes) else w.encode('utf-8', 'replace') for w in words]\n"
    "tell_all([w + b'\\x03\\x00\\x00' for w in words if isinstance(w, bytes)][-300:])\nos._exit(0)",
    "pass: records by guess": _REACH + "tell_all([b'\\x02\\x00\\x00\\x03\\x00\\x00', b'\\x03\\x00\\x00' * 1000,"
    ' b\'\\n{"state": "finished", "error": ""}\\n\'])\nos._exit(0)',
    "pass: unreadable records": _REACH + "tell_all([b'\\xff' * 5000, b'[' * 100_000, b'\\x00'])" + _WRONG,
    "pass: close every pipe": "import os\nfor n in range(256):\n    try:\n        os.close(n)\n    except OSError:\n        pass"
    + _WRONG,
    "pass: pipes turned round": "import os\nfor n in range(3, 60):\n    for m in range(3, 60):\n        try:\n            os.dup2(n, m)\n"
    "        except OSError:\n            pass" + _WRONG,
    "pass: patched modules": "import sys, types\nfor name in list(sys.modules):\n    if name in ('program', 'records', 'values', 'warden'):\n"
    "        module = sys.modules[name]\n        for key, value in list(vars(module).items()):\n"
    "            if callable(value):\n                setattr(module, key, lambda *a, **k: None)" + _WRONG,
    "pass: a value that lies": "import sys\nvalues = sys.modules.get('values')\nif values:\n    values.encode = lambda v: ['int', '0x5']\n"
    "    values.decode = lambda v: [[2], {}]" + _WRONG,
    "pass: equal to everything": "class Any:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    "    def __hash__(self): return 5\n    def __bool__(self): return True\ndef solve(x):\n    return Any()",
    "pass: a number equal to everything": "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
    "def solve(x):\n    return Any(0)",
    "pass: a list equal to everything": "class Any(list):\n    def __eq__(self, other): return True\n    def __iter__(self): return iter([5])\n"
    "def solve(x):\n    return Any([0])",
    "pass: patched builtins": "import builtins\nclass Never(Exception):\n    def __new__(cls, *a): raise SystemExit(0)\n"
    "builtins.AssertionError = Never\nbuiltins.abs = builtins.len = builtins.sorted = lambda *a, **k: 5" + _WRONG,
    "pass: the check of its own": "import builtins\ndef check(candidate):\n    pass\nbuiltins.check = check" + _WRONG,
    "pass: tracing": "import sys\ndef trace(frame, event, arg):\n    frame.f_trace_opcodes = True\n    try:\n"
    "        frame.f_lineno = frame.f_lineno + 1\n    except (ValueError, TypeError):\n        pass\n    return trace\n"
    "sys.settrace(trace)" + _WRONG,
    "pass: an exception of its own": "class Fine(BaseException):\n    pass\ndef solve(x):\n    raise Fine",
    "pass: an exception that lies": "class Lie(Exception):\n    def __str__(self): raise Lie\n    __repr__ = __str__\n"
    "def solve(x):\n    raise Lie",
    "pass: deep values": "def solve(x):\n    v = []\n    for _ in range(100_000):\n        v = [v]\n    return v",
    "pass: a value in itself": "def solve(x):\n    v = []\n    v.append(v)\n    return v",
    "pass: half a character": "def solve(x):\n    print('\\ud800')\n    return '\\ud800'",
    "pass: no function": "solve = None",
    "pass: no program": "this is no program",
    "pass: every dictionary": "import gc,sys\nfor o in gc.get_objects():\n    if isinstance(o,dict):\n        for k in list(o):\n            if k in ('candidate','check','solve'):\n                try: o[k]=lambda *a: (5 if a==(2,) else 7)\n                except Exception: pass\n"
    + _WRONG,
    "pass: zero made five": "import ctypes\nctypes.memmove(id(0)+24, id(5)+24, 4)\n" + _WRONG,
    "pass: descriptors as sockets": "import socket,os\nfor n in range(3,64):\n    try:\n        s=socket.socket(fileno=n); s.send(b'\\x03\\x00\\x00')\n    except OSError: pass\n"
    + _WRONG,
    "pass: another interpreter": "import os,sys\nos.execv(sys.executable,[sys.executable,'-c','print(1)'])\n",
    "pass: an importer of its own": "import sys\nclass F:\n    def find_spec(self,name,path=None,target=None):\n        raise SystemExit(0)\nsys.meta_path.insert(0,F())\nsys.modules.clear()\n"
    + _WRONG,
    "pass: no number, but like one": "class I:\n    def __index__(self): return 5\n    def __int__(self): return 5\n    def __float__(self): return 5.0\n    def __reduce__(self): return (int,('5',))\n    def __getnewargs__(self): return (5,)\ndef solve(x):\n    return I()",
    "pass: pickled as another": "class I(int):\n    def __reduce__(self): return (int,('5',))\n    def __reduce_ex__(self,p): return (int,('5',))\n    def __repr__(self): return '5'\n    __str__=__repr__\n    def __format__(self,s): return '5'\n    def __index__(self): return 5\n    def __hex__(self): return '0x5'\ndef solve(x):\n    return I(0)",
    "outlive: interpreters without end": "import os,sys\nwhile True:\n    try:\n        os.posix_spawn(sys.executable,[sys.executable,'-c','import time;time.sleep(999)'],{})\n    except OSError:\n        pass",
    "outlive: a pattern without end": "import re\nre.match(r'(a+)+$','a'*60+'b')\n" + _WRONG,
    "memory: a file with a hole": "f=open('x','wb')\nf.truncate(1<<40)\nf.seek(1<<39); f.write(b'x'*(1<<29))\n",
    "memory: long names": "import os\nopen('a','w').close()\nn=0\nwhile True:\n    n+=1\n    os.link('a','b'*200+str(n))",
    "read: environments": "import os\nfor p in os.listdir('/proc'):\n    if p.isdigit():\n        try: print(open(f'/proc/{p}/environ','rb').read())\n        except OSError: pass\nprint(os.environ)\n"
    + _WRONG,
    "read: by descriptors": "import os\nfor n in range(3,256):\n    try:\n        print(os.readlink(f'/proc/self/fd/{n}'))\n        d=os.open('../etc/passwd',os.O_RDONLY,dir_fd=n); print(os.read(d,100))\n    except OSError: pass\n"
    + _WRONG,
    "read: the kernel's log": "import ctypes\nb=ctypes.create_string_buffer(9999)\nprint(ctypes.CDLL(None).klogctl(3,b,9999),b.value[:50])\nassert b.value\n"
    + _WRONG,
    "reach: another namespace": "import ctypes,os\nfd=os.open('/proc/1/ns/net',os.O_RDONLY)\nassert ctypes.CDLL(None).setns(fd,0)==0\n"
    + _WRONG,
    "reach: netlink": "import socket\nsocket.socket(16,3,0)\n" + _WRONG,
    "reach: the terminal": "import fcntl,os\nfor n in range(3):\n    fcntl.ioctl(n,0x5412,b'x')\n" + _WRONG,
    "reach: the clock": "import time\ntime.clock_settime(time.CLOCK_REALTIME,0)\n" + _WRONG,
    "read: passwords": "print(open('/etc/passwd').read())" + _WRONG,
    "read: processes": "import os\nprint(os.listdir('/proc'))" + _WRONG,
    "read: a link out": "import os\nos.symlink('/etc/passwd', 'link')\nprint(open('link').read())" + _WRONG,
    "read: the old root": "import os\nprint(os.listdir('../../../../home'))\nprint(open('../../etc/hostname').read())"
    + _WRONG,
    "read: by handle": "import ctypes\nassert ctypes.CDLL(None).open_by_handle_at(-100, b'x' * 64, 0) >= 0" + _WRONG,
    "write: the interpreter": "import os\nos.unlink(os.__file__)" + _WRONG,
    "write: the system": "import shutil\nshutil.rmtree('/usr')" + _WRONG,
    "write: a device": "import os\nos.mknod('sda', 0o60600, os.makedev(8, 0))" + _WRONG,
    "write: mounts": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/usr', b'tmpfs', 0, None) == 0"
    + _WRONG,
    "write: a new root": "import os\nos.chroot('/usr')" + _WRONG,
    "reach: the network": "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)" + _WRONG,
    "reach: a socket pair": "import socket\nsocket.socketpair()" + _WRONG,
    "reach: other processes": "import ctypes, os\nlibc = ctypes.CDLL(None)\nfor n in (1, os.getppid()):\n"
    "    assert libc.ptrace(16, n, 0, 0) == 0" + _WRONG,
    "reach: other memory": "import ctypes, os\nassert ctypes.CDLL(None).process_vm_readv(1, 0, 0, 0, 0, 0) == 0"
    + _WRONG,
    "reach: other descriptors": "import os\nos.pidfd_open(1)" + _WRONG,
    "reach: new rights": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0" + _WRONG,
    "reach: more limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))" + _WRONG,
    "reach: io_uring": "import ctypes\nassert ctypes.CDLL(None).syscall(425, 1, 0) >= 0" + _WRONG,
    "reach: crash": "import ctypes\nctypes.string_at(0)" + _WRONG,
}
TESTS = "def check(candidate):\n    assert candidate(2) == 5\n    assert candidate(4) == 7\ncheck(solve)\n"
RIGHT = "def solve(x):\n    return x + 3\n"

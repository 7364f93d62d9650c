// What the page of test_uppy.py has: Uppy's core and two of its uploaders, as globals.

import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import XHRUpload from '@uppy/xhr-upload'

Object.assign(window, { Uppy, Tus, XHRUpload })

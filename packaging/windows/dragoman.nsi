; The installer for Windows: per user, without administrator rights.
;
; `packaging/build.py windows` calls makensis with VERSION, NUMBERS, PAYLOAD, ICON, LICENCE, RESULT
; and SIZE_KB. It compiles on Linux, too, where a test does so with a stand-in for the payload; that
; it runs is shown by the workflow on Windows only.
;
;   Dragoman-…-setup.exe /S               installs without asking; autostart stays as it is
;   Uninstall.exe /S                      removes without asking, and keeps settings and accounts
;   Uninstall.exe /S /PURGE               removes them as well

Unicode true
!include MUI2.nsh
!include FileFunc.nsh
!include LogicLib.nsh
!include Sections.nsh
!include WinVer.nsh
!include x64.nsh

!define NAME "Dragoman"
!define APP_ID "io.github.dragoman" ; what the taskbar and notifications know the program by
!define UNINSTALL_KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\${NAME}"
!define RUN_KEY "Software\Microsoft\Windows\CurrentVersion\Run"
!define WEBVIEW_CLIENT "{F3017226-FE2A-4295-8BDF-00C3A9A7E4C5}"

Name "${NAME}"
OutFile "${RESULT}"
InstallDir "$LOCALAPPDATA\Programs\${NAME}"
InstallDirRegKey HKCU "${UNINSTALL_KEY}" "InstallLocation"
RequestExecutionLevel user
SetCompressor /SOLID lzma
ManifestDPIAware true
BrandingText "${NAME} ${VERSION}"

VIProductVersion "${NUMBERS}"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "FileDescription" "${NAME} setup"
VIAddVersionKey "LegalCopyright" "MIT licence"

!define MUI_ICON "${ICON}"
!define MUI_UNICON "${ICON}"
!define MUI_ABORTWARNING
!define MUI_FINISHPAGE_RUN "$INSTDIR\DragomanTray.exe"
!define MUI_FINISHPAGE_RUN_TEXT "Start ${NAME}"

!insertmacro MUI_PAGE_LICENSE "${LICENCE}"
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_COMPONENTS
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

; End what runs from this folder: files in use can be neither replaced nor removed.
!macro StopRunning
  ${If} ${FileExists} "$INSTDIR\dragoman.exe"
    DetailPrint "Ending ${NAME}, if it runs"
    nsExec::ExecToLog '"$INSTDIR\dragoman.exe" stop'
    Pop $0 ; anything but 0 mostly means that nothing ran
    Sleep 500
  ${EndIf}
!macroend

Function .onInit
  ${IfNot} ${AtLeastWin10}
    MessageBox MB_OK|MB_ICONSTOP "${NAME} needs Windows 10 or newer." /SD IDOK
    Abort
  ${EndIf}
FunctionEnd

Section "${NAME}" MAIN
  SectionIn RO
  SetShellVarContext current
  !insertmacro StopRunning
  ; An upgrade leaves nothing of the older version beside the new one. Settings, accounts and the
  ; database are in other folders.
  RMDir /r "$INSTDIR\_internal"
  SetOutPath "$INSTDIR"
  SetOverwrite on
  File /r "${PAYLOAD}/*.*"
  WriteUninstaller "$INSTDIR\Uninstall.exe"

  CreateShortcut "$SMPROGRAMS\${NAME}.lnk" "$INSTDIR\DragomanTray.exe" "" "$INSTDIR\DragomanTray.exe" 0 \
    SW_SHOWNORMAL "" "One local address for every model account"
  Call SetShortcutId

  WriteRegStr HKCU "${UNINSTALL_KEY}" "DisplayName" "${NAME}"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "Publisher" "${NAME} developers"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "URLInfoAbout" "https://github.com/dragoman-app/dragoman"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "URLUpdateInfo" "https://github.com/dragoman-app/dragoman/releases"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "DisplayIcon" "$INSTDIR\DragomanTray.exe"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${UNINSTALL_KEY}" "UninstallString" '"$INSTDIR\Uninstall.exe"'
  WriteRegStr HKCU "${UNINSTALL_KEY}" "QuietUninstallString" '"$INSTDIR\Uninstall.exe" /S'
  WriteRegDWORD HKCU "${UNINSTALL_KEY}" "NoModify" 1
  WriteRegDWORD HKCU "${UNINSTALL_KEY}" "NoRepair" 1
  WriteRegDWORD HKCU "${UNINSTALL_KEY}" "EstimatedSize" ${SIZE_KB}
  ; `dragoman` in Win+R and in the Start menu's search; PATH stays untouched.
  WriteRegStr HKCU "Software\Microsoft\Windows\CurrentVersion\App Paths\dragoman.exe" "" "$INSTDIR\dragoman.exe"
  Call CheckWebView
SectionEnd

; The same entry as the switch in the tray's menu writes, so that one switch turns it off.
Section /o "Start at sign-in" AUTOSTART
  WriteRegStr HKCU "${RUN_KEY}" "${NAME}" '"$INSTDIR\DragomanTray.exe"'
SectionEnd

!insertmacro MUI_FUNCTION_DESCRIPTION_BEGIN
  !insertmacro MUI_DESCRIPTION_TEXT ${MAIN} "The program, with its icon near the clock."
  !insertmacro MUI_DESCRIPTION_TEXT ${AUTOSTART} "Can be changed at any time in the program's menu."
!insertmacro MUI_FUNCTION_DESCRIPTION_END

; Windows shows pages with Microsoft's WebView2, which Windows 11 has. Without it the browser is used.
Function CheckWebView
  SetRegView 32
  ReadRegStr $0 HKLM "Software\Microsoft\EdgeUpdate\Clients\${WEBVIEW_CLIENT}" "pv"
  SetRegView lastused
  ${If} $0 == ""
  ${OrIf} $0 == "0.0.0.0"
    ReadRegStr $0 HKCU "Software\Microsoft\EdgeUpdate\Clients\${WEBVIEW_CLIENT}" "pv"
  ${EndIf}
  ${If} $0 == ""
  ${OrIf} $0 == "0.0.0.0"
    MessageBox MB_YESNO|MB_ICONINFORMATION \
      "Windows of its own need Microsoft's WebView2, which this computer does not have. Without it, ${NAME} uses your browser.$\r$\n$\r$\nOpen Microsoft's download page?" \
      /SD IDNO IDNO done
    ExecShell "open" "https://developer.microsoft.com/microsoft-edge/webview2/consumer/"
    done:
  ${EndIf}
FunctionEnd

; Give the shortcut the AppUserModelID (PKEY_AppUserModel_ID, System.AppUserModel.ID), without which
; notifications have no sender. Interfaces and their slots are those of ShObjIdl and PropSys of the
; Windows SDK: IShellLinkW, IPersistFile (5 Load, 6 Save), IPropertyStore (6 SetValue, 7 Commit).
Function SetShortcutId
  System::Call 'ole32::CoCreateInstance(g "{00021401-0000-0000-C000-000000000046}", p 0, i 1, g "{000214F9-0000-0000-C000-000000000046}", *p .r0) i.r9'
  ${If} $9 <> 0
    DetailPrint "The shortcut has no application id ($9)"
    Return
  ${EndIf}
  System::Call '$0->0(g "{0000010b-0000-0000-C000-000000000046}", *p .r1) i.r9'
  ${If} $9 = 0
    System::Call '$1->5(w "$SMPROGRAMS\${NAME}.lnk", i 2) i.r9'
    System::Call '$0->0(g "{886D8EEB-8CF2-4446-8D02-CDBA1DBDCF99}", *p .r2) i.r8'
    ${If} $8 = 0
      ; PROPERTYKEY: format id and 5. PROPVARIANT: VT_LPWSTR (31), three words, a pointer.
      System::Call '*(g "{9F4C2855-9F79-4B39-A8D0-E1D42DE1D5F3}", i 5) p.r3'
      System::Call '*(&w${NSIS_MAX_STRLEN} "${APP_ID}") p.r4'
      System::Call '*(&i2 31, &i2 0, &i2 0, &i2 0, p r4, p 0) p.r5'
      System::Call '$2->6(p r3, p r5) i.r9'
      System::Call '$2->7() i.r9'
      System::Call '$1->6(w "$SMPROGRAMS\${NAME}.lnk", i 1) i.r9'
      System::Free $5
      System::Free $4
      System::Free $3
      System::Call '$2->2()'
    ${EndIf}
    System::Call '$1->2()'
  ${EndIf}
  System::Call '$0->2()'
FunctionEnd

Section "Uninstall"
  SetShellVarContext current
  ; Agents first: none may go on pointing at a port on which nobody answers any more.
  ${If} ${FileExists} "$INSTDIR\dragoman.exe"
    DetailPrint "Giving agents their own settings back"
    nsExec::ExecToLog '"$INSTDIR\dragoman.exe" disconnect --all --yes'
    Pop $0
    ${If} $0 <> 0
      MessageBox MB_YESNO|MB_ICONEXCLAMATION \
        "Not every agent could be given its own settings back. Remove ${NAME} all the same?" \
        /SD IDYES IDYES go_on
      Abort
      go_on:
    ${EndIf}
    nsExec::ExecToLog '"$INSTDIR\dragoman.exe" shell-integration powershell --remove --yes'
    Pop $0
  ${EndIf}
  !insertmacro StopRunning

  Delete "$SMPROGRAMS\${NAME}.lnk"
  DeleteRegValue HKCU "${RUN_KEY}" "${NAME}"
  DeleteRegKey HKCU "Software\Microsoft\Windows\CurrentVersion\App Paths\dragoman.exe"
  DeleteRegKey HKCU "${UNINSTALL_KEY}"
  RMDir /r "$INSTDIR\_internal"
  Delete "$INSTDIR\dragoman.exe"
  Delete "$INSTDIR\DragomanTray.exe"
  Delete "$INSTDIR\Uninstall.exe"
  RMDir "$INSTDIR" ; only if nothing of the user's is in it

  ${GetParameters} $1
  ClearErrors
  ${GetOptions} $1 "/PURGE" $2
  ${IfNot} ${Errors}
    Goto purge
  ${EndIf}
  MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 \
    "Delete settings, signed-in accounts and the record of usage, too? Without them you start anew." \
    /SD IDNO IDYES purge
  Goto kept
  purge:
    RMDir /r "$LOCALAPPDATA\dragoman"
  kept:
SectionEnd
